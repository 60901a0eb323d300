"""The search itself: ask the controller, measure, tell the study, until enough are measured."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.study import Study
from optuna.trial import Trial
from sqlalchemy.exc import SQLAlchemyError

from asvit.core.codec import to_json
from asvit.core.console import number, short
from asvit.core.progress import Progress
from asvit.search.controllers import get_controller
from asvit.search.front import best_row
from asvit.search.history import History, objectives
from asvit.search.measurement import MEASURED, EvaluateAll, Measurement
from asvit.search.rows import TrialRow
from asvit.search.sampler import ReinforceSampler, measured_trials
from asvit.search.settings import SearchSettings
from asvit.search.sharing import StudyLease
from proxies.messages import first_line
from scaling.ranking import Better

if TYPE_CHECKING:
    from asvit.spaces import SearchSpace
    from asvit.spaces.base import Architecture

logger = logging.getLogger(__name__)

HOPELESS = 10  # failures at the start, with nothing else, after which a search gives up


class Search:
    """A search in progress: the study, and the rows that follow from it.

    Args:
        study: Study with the measured trials so far.
        space: What is searched.
        settings: Settings of the search.
        better: Measure to its direction; the measures with one are the objectives.
        evaluate: Measures architectures.
        lease: Shares the study with other processes.

    Raises:
        ValueError: If a trial of the study was not measured by a search.
    """

    def __init__(
        self,
        study: Study,
        space: SearchSpace,
        settings: SearchSettings,
        better: Mapping[str, Better],
        *,
        evaluate: EvaluateAll,
        lease: StudyLease,
    ) -> None:
        self._space = space
        self._settings = settings
        self._objectives = objectives(better)
        self._evaluate = evaluate
        self._lease = lease
        self._started = time.monotonic()
        self._distributions = distributions(space)
        self._study = study
        self._history = _followed(study, space, settings, better)
        self._seconds_before = self._history.seconds

    @property
    def rows(self) -> list[TrialRow]:
        """One for each measured architecture."""
        return self._history.rows

    @property
    def seconds(self) -> float:
        """Wall-clock time of all sessions so far."""
        return self._seconds_before + time.monotonic() - self._started

    def run(self) -> Iterator[Progress]:
        """Measure until the settings' steps are done; yields the progress after each row.

        Architectures of a batch are asked for together, measured in any order and told in the
        order in which they were asked for.

        Raises:
            ValueError: If nothing but failures came of the first architectures.
            OSError: If the storage cannot be written. What was measured before is safe.
        """
        with _storing():
            self._lease.tidy()
        self._check_hope()
        resumed = len(self.rows)
        while len(self.rows) < self._settings.steps:
            with _storing():
                asked = self._ask()
            if not asked:  # the rest is in flight elsewhere
                with _storing():
                    self._lease.wait()
                    self._history.catch_up(self._study)
                continue
            drawn = [self._space.decode(trial.params) for trial in asked]
            with self._lease.at_work(asked):
                measured = self._measure(drawn)
                for trial, arch, measurement in zip(asked, drawn, measured, strict=True):
                    with _storing():
                        told = self._tell(trial, str(arch), measurement)
                    if told:
                        yield self._progress(trial, resumed)
                        self._check_hope()

    def outcome(self) -> tuple[Architecture, Measurement]:
        """The architecture that the search ends in, measured.

        It is the policy's likeliest one, or, for a controller without a policy, the one with the
        smallest sum of dense ranks over the objectives.

        Raises:
            ValueError: If every architecture failed.
        """
        best = best_row(self.rows, self._objectives)
        if best is None:
            raise ValueError(self._despair())
        sampler = self._study.sampler
        if isinstance(sampler, ReinforceSampler):
            params = sampler.likeliest(self._study)
        else:
            params = measured_trials(self._study)[best.number].params
        arch = self._space.decode(params)
        (measurement,) = self._measure([arch])
        return arch, measurement

    def _ask(self) -> list[Trial]:
        """The rest of the batch, or of the search; fewer where others have taken some."""
        steps, batch = self._settings.steps, self._settings.batch
        left = batch - len(self.rows) % batch
        return self._lease.ask(self._distributions, left, wanted=steps)

    def _measure(self, architectures: Sequence[Architecture]) -> Iterator[Measurement]:
        """The measurement of each architecture in order; known ones are not measured again."""
        known = dict(self._history.known)  # as of now: others may add to it meanwhile
        distinct = {str(arch): arch for arch in architectures}
        fresh = iter(self._evaluate([a for text, a in distinct.items() if text not in known]))
        for text in map(str, architectures):
            if text not in known:
                known[text] = next(fresh)
            yield known[text]

    def _tell(self, trial: Trial, text: str, measurement: Measurement) -> bool:
        """Tell the study; False if others had given the trial up, as after a machine slept."""
        record = {"architecture": text, "seconds": self.seconds, **to_json(measurement)}
        try:
            trial.set_user_attr(MEASURED, record)
            self._study.tell(trial, list(self._history.fill(measurement.values).values()))
        except UpdateFinishedTrialError:
            logger.warning("%s was given up by other processes meanwhile", text)
            return False
        self._history.catch_up(self._study)
        return True

    def _progress(self, trial: Trial, resumed: int) -> Progress:
        row = self._history.row_of(trial.number)
        return Progress(
            "step",
            len(self.rows),
            self._settings.steps,
            resumed=resumed,
            seconds=time.monotonic() - self._started,
            state=self._state(row),
            record=row,
        )

    def _state(self, row: TrialRow) -> str:
        """Entropy, best so far and failures in a line; what there is not is left out."""
        parts = [f"entropy {row.entropy:.2f}"] if math.isfinite(row.entropy) else []
        best = best_row(self.rows, self._objectives)
        if best is not None:
            values = (f"{short(name)} {number(value)}" for name, value in best.values.items())
            parts.append(f"best {best.architecture} ({', '.join(values)})")
        failures = sum(one.state == "failed" for one in self.rows)
        return "  ".join([*parts, *([f"failed {failures}"] if failures else [])])

    def _check_hope(self) -> None:
        if len(self.rows) >= HOPELESS and not self._history.any_valid:
            raise ValueError(self._despair())

    def _despair(self) -> str:
        last = self.rows[-1]
        return (
            f"all of the first {len(self.rows)} architectures failed; the last one, "
            f"{last.architecture}, because {last.reason}"
        )


def distributions(space: SearchSpace) -> dict[str, BaseDistribution]:
    """The dimensions of ``space`` as Optuna takes them."""
    return {name: CategoricalDistribution(choices) for name, choices in space.dimensions.items()}


def recall(
    study: Study, space: SearchSpace, settings: SearchSettings, better: Mapping[str, Better]
) -> list[TrialRow]:
    """The rows that follow from the measured trials of ``study``; nothing is measured or written.

    Raises:
        ValueError: If a trial of the study was not measured by a search.
    """
    return _followed(study, space, settings, better).rows


def _followed(
    study: Study, space: SearchSpace, settings: SearchSettings, better: Mapping[str, Better]
) -> History:
    """The history of ``study``, whose controller is made anew."""
    make = get_controller(settings.controller).make
    study.sampler = make(space.dimensions, objectives(better), settings)
    history = History(better)
    history.catch_up(study)
    return history


@contextmanager
def _storing() -> Iterator[None]:
    """Turn what a storage raises when it cannot be written into one line that says so."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, f"{_LOST_NOTHING} ({error.strerror})") from error
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        raise OSError(f"{_LOST_NOTHING} ({first_line(error)})") from error


_LOST_NOTHING = (
    "the study cannot be written; what was measured is safe, and the same command continues"
)

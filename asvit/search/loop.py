"""The search itself: ask the controller, measure, tell the study, until enough are measured."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.study import Study
from optuna.trial import Trial
from sqlalchemy.exc import SQLAlchemyError

from asvit.search.controllers import get_controller
from asvit.search.front import best_row
from asvit.search.ledger import Ledger, objectives
from asvit.search.measurement import MEASURED, EvaluateAll, Measurement
from asvit.search.rows import TrialRow
from asvit.search.sampler import ReinforceSampler
from asvit.search.settings import SearchSettings
from asvit.search.sharing import Share
from proxies.messages import first_line
from scaling.ranking import Better

if TYPE_CHECKING:
    from asvit.spaces import SearchSpace

logger = logging.getLogger(__name__)

HOPELESS = 10  # failures at the start, with nothing else, after which a search gives up


@dataclass(frozen=True)
class StepEvent:
    """What is told after each measured architecture.

    Attributes:
        step: Architectures measured so far, this one included.
        steps: Architectures to measure in all.
        row: This one.
        entropy: Joint entropy in nats of the policy that drew it; NaN without a policy.
        best: The row with the smallest sum of dense ranks so far; None while all have failed.
        failures: Failed ones so far.
        seconds: Wall-clock time of this session so far.
        resumed: Architectures that earlier sessions had measured; 0 in a new run.
    """

    step: int
    steps: int
    row: TrialRow
    entropy: float
    best: TrialRow | None
    failures: int
    seconds: float
    resumed: int


class Search:
    """A search in progress: the study, and the rows that follow from it.

    Args:
        study: Study with the measured trials so far.
        space: What is searched.
        settings: Settings of the search.
        better: Measure to its direction; the measures with one are the objectives.
        evaluate: Measures architectures.
        share: How the study is shared with other processes.
        started: When this session started, by :func:`time.monotonic`.

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
        share: Share,
        started: float,
    ) -> None:
        self._space = space
        self._settings = settings
        self._objectives = objectives(better)
        self._evaluate = evaluate
        self._share = share
        self._started = started
        self._distributions: dict[str, BaseDistribution] = {
            name: CategoricalDistribution(choices) for name, choices in space.dimensions.items()
        }
        make = get_controller(settings.controller).make
        self._study = study
        self._study.sampler = make(space.dimensions, self._objectives, settings)
        self._ledger = Ledger(better)
        self._ledger.catch_up(study)
        self._seconds_before = self._ledger.seconds

    @property
    def rows(self) -> list[TrialRow]:
        """One for each measured architecture."""
        return self._ledger.rows

    @property
    def seconds(self) -> float:
        """Wall-clock time of all sessions so far."""
        return self._seconds_before + time.monotonic() - self._started

    def run(self) -> Iterator[StepEvent]:
        """Measure until the settings' steps are done, with one event after each architecture.

        Architectures of a batch are asked for together, measured in any order and told in the
        order in which they were asked for.

        Raises:
            ValueError: If nothing but failures came of the first architectures.
            OSError: If the storage cannot be written. What was measured before is safe.
        """
        with _storing():
            self._share.tidy()
        self._check_hope()
        resumed = len(self.rows)
        while len(self.rows) < self._settings.steps:
            with _storing():
                asked = self._ask()
            if not asked:  # the rest is in flight elsewhere
                with _storing():
                    self._share.wait()
                    self._ledger.catch_up(self._study)
                continue
            texts = [str(self._space.decode(trial.params)) for trial in asked]
            with self._share.at_work(asked):
                for trial, text, measurement in zip(
                    asked, texts, self._measure(texts), strict=True
                ):
                    with _storing():
                        told = self._tell(trial, text, measurement)
                    if told:
                        yield self._event(trial, resumed)
                        self._check_hope()

    def outcome(self) -> tuple[str, Measurement]:
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
        text = best.architecture
        if isinstance(sampler, ReinforceSampler):
            text = str(self._space.decode(sampler.likeliest(self._study)))
        (measurement,) = self._measure([text])
        return text, measurement

    def _ask(self) -> list[Trial]:
        """The rest of the batch, or of the search; fewer where others have taken some."""
        steps, batch = self._settings.steps, self._settings.batch
        left = batch - len(self.rows) % batch
        return self._share.ask(self._distributions, left, wanted=steps)

    def _measure(self, texts: Sequence[str]) -> Iterator[Measurement]:
        """The measurement of each text in order; what is known is not measured again."""
        known = dict(self._ledger.known)  # as of now: others may add to it meanwhile
        new = [text for text in dict.fromkeys(texts) if text not in known]
        fresh = iter(self._evaluate(new))
        for text in texts:
            if text not in known:
                known[text] = next(fresh)
            yield known[text]

    def _tell(self, trial: Trial, text: str, measurement: Measurement) -> bool:
        """Tell the study; False if others had given the trial up, as after a machine slept."""
        record = {"architecture": text, "seconds": self.seconds, **measurement.to_json()}
        try:
            trial.set_user_attr(MEASURED, record)
            self._study.tell(trial, list(self._ledger.fill(measurement.values).values()))
        except UpdateFinishedTrialError:
            logger.warning("%s was given up by other processes meanwhile", text)
            return False
        self._ledger.catch_up(self._study)
        return True

    def _event(self, trial: Trial, resumed: int) -> StepEvent:
        row = self._ledger.row_of(trial.number)
        return StepEvent(
            step=len(self.rows),
            steps=self._settings.steps,
            row=row,
            entropy=row.entropy,
            best=best_row(self.rows, self._objectives),
            failures=sum(one.state == "failed" for one in self.rows),
            seconds=time.monotonic() - self._started,
            resumed=resumed,
        )

    def _check_hope(self) -> None:
        if len(self.rows) >= HOPELESS and not self._ledger.any_valid:
            raise ValueError(self._despair())

    def _despair(self) -> str:
        last = self.rows[-1]
        return (
            f"all of the first {len(self.rows)} architectures failed; the last one, "
            f"{last.architecture}, because {last.reason}"
        )


def recall(
    study: Study, space: SearchSpace, settings: SearchSettings, better: Mapping[str, Better]
) -> list[TrialRow]:
    """The rows that follow from the measured trials of ``study``; nothing is measured or written.

    Raises:
        ValueError: If a trial of the study was not measured by a search.
    """
    study.sampler = get_controller(settings.controller).make(
        space.dimensions, objectives(better), settings
    )
    ledger = Ledger(better)
    ledger.catch_up(study)
    return ledger.rows


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

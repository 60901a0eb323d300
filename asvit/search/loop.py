"""The search itself: ask the controller, measure, tell the study, until enough are measured."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.study import Study
from sqlalchemy.exc import SQLAlchemyError

from asvit._text import first_line
from asvit.search.controllers import get_controller
from asvit.search.front import best_row
from asvit.search.measurement import Evaluate, Measurement
from asvit.search.reward import WindowedReward, WorstSoFar
from asvit.search.rows import TrialRow
from asvit.search.sampler import ReinforceSampler, measured_trials
from asvit.search.settings import SearchSettings
from scaling.ranking import Better

if TYPE_CHECKING:
    from asvit.spaces import SearchSpace

HOPELESS = 10  # failures at the start, with nothing else, after which a search gives up

_MEASURED = "measured"


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
        study: Study with the measured trials so far, and no running ones.
        space: What is searched.
        settings: Settings of the search.
        better: Measure to its direction; the measures with one are the objectives.
        evaluate: Measures an architecture.
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
        evaluate: Evaluate,
        started: float,
    ) -> None:
        self._space = space
        self._settings = settings
        self._better = dict(better)
        self._objectives = objectives(better)
        self._evaluate = evaluate
        self._started = started
        self._distributions: dict[str, BaseDistribution] = {
            name: CategoricalDistribution(choices) for name, choices in space.dimensions.items()
        }
        make = get_controller(settings.controller).make
        self._study = study
        self._study.sampler = make(space.dimensions, self._objectives, settings)
        self._worst = WorstSoFar(self._objectives)
        self._reward = WindowedReward(self._objectives)
        self._known: dict[str, Measurement] = {}
        self._any_valid = False
        self.rows: list[TrialRow] = []
        self._recall()

    @property
    def seconds(self) -> float:
        """Wall-clock time of all sessions so far."""
        return self._seconds_before + time.monotonic() - self._started

    def run(self) -> Iterator[StepEvent]:
        """Measure until the settings' steps are done, with one event after each architecture.

        Raises:
            ValueError: If nothing but failures came of the first architectures.
            OSError: If the storage cannot be written. What was measured before is safe.
        """
        self._check_hope()
        resumed = len(self.rows)
        while len(self.rows) < self._settings.steps:
            with _storing():
                trial = self._study.ask(self._distributions)
            text = str(self._space.decode(trial.params))
            measurement = self._known[text] if text in self._known else self._evaluate(text)
            filled = self._worst.fill(measurement.values)
            record = {"architecture": text, "seconds": self.seconds, **measurement.to_json()}
            with _storing():
                trial.set_user_attr(_MEASURED, record)
                self._study.tell(trial, list(filled.values()))
            row = self._append(text, measurement, filled, entropy=self._entropies()[-1])
            yield StepEvent(
                step=len(self.rows),
                steps=self._settings.steps,
                row=row,
                entropy=row.entropy,
                best=best_row(self.rows, self._objectives),
                failures=sum(row.state == "failed" for row in self.rows),
                seconds=time.monotonic() - self._started,
                resumed=resumed,
            )
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
        if not isinstance(sampler, ReinforceSampler):
            return best.architecture, self._known[best.architecture]
        text = str(self._space.decode(sampler.likeliest(self._study)))
        return text, self._known[text] if text in self._known else self._evaluate(text)

    def _recall(self) -> None:
        """Rebuild the rows from the measured trials of the study."""
        self._seconds_before = 0.0
        trials = measured_trials(self._study)
        for trial in trials:
            if _MEASURED not in trial.user_attrs:
                raise ValueError(
                    f"trial {trial.number} of the study was not measured by this search; "
                    "give --out for a new folder"
                )
        for trial, entropy in zip(trials, self._entropies(), strict=True):
            record = trial.user_attrs[_MEASURED]
            measurement = Measurement.from_json(record)
            filled = self._worst.fill(measurement.values)
            self._append(record["architecture"], measurement, filled, entropy=entropy)
            self._seconds_before = record["seconds"]

    def _entropies(self) -> list[float]:
        """One entropy per measured trial."""
        sampler = self._study.sampler
        if isinstance(sampler, ReinforceSampler):
            return list(sampler.entropies(self._study))
        return [math.nan] * len(measured_trials(self._study))

    def _append(
        self, text: str, measurement: Measurement, filled: Mapping[str, float], *, entropy: float
    ) -> TrialRow:
        row = TrialRow(
            number=len(self.rows),
            architecture=text,
            params=measurement.params,
            macs=measurement.macs,
            values={name: measurement.values[name] for name in self._better},
            reward=self._reward.update(filled),
            entropy=entropy,
            state="failed" if measurement.reasons else "complete",
            reason=measurement.reason,
        )
        self.rows.append(row)
        self._known[text] = measurement
        self._any_valid |= all(math.isfinite(row.values[name]) for name in self._objectives)
        return row

    def _check_hope(self) -> None:
        if len(self.rows) >= HOPELESS and not self._any_valid:
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

    def measure(text: str) -> Measurement:
        raise ValueError(f"{text} was not measured")

    started = time.monotonic()
    return Search(study, space, settings, better, evaluate=measure, started=started).rows


def objectives(better: Mapping[str, Better]) -> dict[str, Better]:
    """The measures with a direction, in their order."""
    return {name: way for name, way in better.items() if way != "reported"}


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

"""The rows of a search, derived from the measured trials of its study."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from optuna.study import Study
from optuna.trial import FrozenTrial

from asvit.core.codec import from_json
from asvit.search.measurement import MEASURED, Measurement
from asvit.search.reward import WindowedReward, WorstSoFar
from asvit.search.rows import TrialRow
from asvit.search.sampler import ReinforceSampler, measured_trials
from scaling.ranking import Better


class History:
    """The measured architectures of a search, in the order in which they were asked for.

    Args:
        better: Measure to its direction; the measures with one are the objectives.

    Attributes:
        rows: One for each measured trial.
        known: Measurement of every architecture in them, by its text.
        seconds: Wall-clock time of the search up to the last row.
        any_valid: Whether a row has a value of every objective.
    """

    def __init__(self, better: Mapping[str, Better]) -> None:
        self._better = dict(better)
        self._objectives = objectives(better)
        self._clear()

    def _clear(self) -> None:
        self._numbers: list[int] = []  # of the trials in the rows
        self._worst = WorstSoFar(self._objectives)
        self._reward = WindowedReward(self._objectives)
        self.rows: list[TrialRow] = []
        self.known: dict[str, Measurement] = {}
        self.seconds = 0.0
        self.any_valid = False

    def catch_up(self, study: Study) -> None:
        """Add the trials that this process, or another one, has measured since the last call.

        Raises:
            ValueError: If a trial of the study was not measured by a search.
        """
        trials = measured_trials(study)
        numbers = [trial.number for trial in trials]
        if numbers[: len(self._numbers)] != self._numbers:
            self._clear()  # a process that shares the study was slower with an earlier trial
        new = trials[len(self._numbers) :]
        for trial in new:
            if MEASURED not in trial.user_attrs:
                raise ValueError(
                    f"trial {trial.number} of the study was not measured by this search; "
                    "give --out for a new folder"
                )
        entropies = _entropies(study, trials)[len(self._numbers) :]
        for trial, entropy in zip(new, entropies, strict=True):
            self._append(trial, entropy)

    def fill(self, values: Mapping[str, float]) -> dict[str, float]:
        """The values that the study keeps: the objectives, a failed one with a bad value."""
        return self._worst.fill(values)

    def row_of(self, number: int) -> TrialRow:
        """The row of the trial with this number."""
        return self.rows[self._numbers.index(number)]

    def _append(self, trial: FrozenTrial, entropy: float) -> None:
        record = trial.user_attrs[MEASURED]
        measurement = from_json(record, Measurement)
        row = TrialRow(
            number=len(self.rows),
            architecture=record["architecture"],
            params=measurement.params,
            macs=measurement.macs,
            values={name: measurement.values[name] for name in self._better},
            reward=self._reward.update(self.fill(measurement.values)),
            entropy=entropy,
            state="failed" if measurement.reasons else "complete",
            reason=measurement.reason,
        )
        self._numbers.append(trial.number)
        self.rows.append(row)
        self.known[row.architecture] = measurement
        self.seconds = record["seconds"]
        self.any_valid |= all(math.isfinite(row.values[name]) for name in self._objectives)


def objectives(better: Mapping[str, Better]) -> dict[str, Better]:
    """The measures with a direction, in their order."""
    return {name: way for name, way in better.items() if way != "reported"}


def _entropies(study: Study, trials: Sequence[FrozenTrial]) -> Sequence[float]:
    """One entropy per measured trial."""
    sampler = study.sampler
    if isinstance(sampler, ReinforceSampler):
        return sampler.entropies(trials)
    return [math.nan] * len(trials)

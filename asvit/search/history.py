"""The rows of a search, which follow from its study."""

import math
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial

from asvit.core.codec import from_json
from asvit.search.controllers import get_controller
from asvit.search.front import objectives
from asvit.search.reward import WindowedReward, WorstSoFar
from asvit.search.rows import Measurement, TrialRow
from asvit.search.sampler import (
    MEASURED,
    ORIGIN,
    UNIFORM,
    ReinforceSampler,
    measured_trials,
)
from asvit.search.settings import SearchSettings
from asvit.spaces.base import SearchSpace
from scaling.ranking import Directions

_MANY = 1000  # rows, up to which all are looked at after each step


def look_interval(rows: int) -> int:
    """Steps between two looks at all ``rows``: more steps where there are more rows to look at."""
    return 1 + rows // _MANY


class History:
    """The measured architectures of a study, in the order in which they were asked for.

    The controller of the study is made anew.
    """

    def __init__(
        self, study: Study, space: SearchSpace, settings: SearchSettings, better: Directions
    ) -> None:
        self._study = study
        self._space, self._random = space, settings.controller == "random"
        self._better = dict(better)
        self.objectives = objectives(better)
        make = get_controller(settings.controller).make
        study.sampler = make(space.dimensions, self.objectives, settings)
        self.numbers: list[int] = []  # of the trials in the rows
        self.worst = WorstSoFar(self.objectives)
        self._reward = WindowedReward(self.objectives)
        self.rows: list[TrialRow] = []
        self.measurements: dict[str, Measurement] = {}  # of the architecture of a text
        self.seconds = 0.0  # wall-clock time of the search up to the last row
        self.any_valid = False  # whether a row has a value of every objective
        self.catch_up()

    def catch_up(self) -> None:
        """Add the trials that were measured since the last call."""
        trials = measured_trials(self._study)
        new = trials[len(self.numbers) :]
        for trial in new:
            if MEASURED not in trial.user_attrs:
                raise ValueError(
                    f"trial {trial.number} of the study was not measured by this search; "
                    "give --out for a new folder"
                )
        sampler, entropies = self._study.sampler, [math.nan] * len(new)
        if isinstance(sampler, ReinforceSampler):
            entropies = list(sampler.entropies(trials))[len(self.numbers) :]
        for trial, entropy in zip(new, entropies, strict=True):
            self._append(trial, entropy)

    def _append(self, trial: FrozenTrial, entropy: float) -> None:
        record = trial.user_attrs[MEASURED]
        measurement = from_json(record, Measurement)
        row = TrialRow(
            number=len(self.rows),
            architecture=record["architecture"],
            params=measurement.params,
            macs=measurement.macs,
            values={name: measurement.values[name] for name in self._better},
            reward=self._reward.update(self.worst.fill(measurement.values)),
            entropy=entropy,
            state="failed" if measurement.reasons else "complete",
            reason=measurement.reason,
            **self._of_family(trial, record["architecture"]),
        )
        self.numbers.append(trial.number)
        self.rows.append(row)
        self.measurements[row.architecture] = measurement
        self.seconds = record["seconds"]
        self.any_valid |= all(math.isfinite(row.values[name]) for name in self.objectives)

    def _of_family(self, trial: FrozenTrial, architecture: str) -> dict[str, Any]:
        """The last fields of its row, where there are several families."""
        if not self._space.branch:
            return {}
        uniform = self._random or UNIFORM in trial.user_attrs
        origin = trial.user_attrs.get(ORIGIN, "random" if uniform else "chosen")
        return {"family": self._space.family_of(architecture), "origin": origin}

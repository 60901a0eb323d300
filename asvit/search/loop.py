"""The search itself: ask the sampler, evaluate, tell the study, until there are enough trials."""

import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial

from asvit.core.codec import from_json, to_json
from asvit.core.console import number, quantity, short
from asvit.core.continuing import ELSEWHERE
from asvit.core.progress import Progress
from asvit.search.limits import Limits
from asvit.search.objective import EvaluateAll, Objective
from asvit.search.policy import WindowedReward, WorstSoFar
from asvit.search.rows import Measurement, TrialRow, best_rows, objectives
from asvit.search.sampler import (
    MEASURED,
    NothingNewError,
    ReinforceSampler,
    SpaceSampler,
    distributions,
    measured_trials,
)
from asvit.search.study import ask, requeue
from asvit.spaces.base import Architecture, SearchSpace

T = TypeVar("T")

_MOST_FAILURES = 10  # at the start, with nothing else, after which a search gives up


class Search:
    """A search in progress: an objective, a sampler and a study, and the rows that follow from it.

    The study, with the trials of earlier sessions, gets the sampler; ``batch`` architectures are
    drawn before any of them is evaluated; what follows takes as long as ``after`` steps, roughly.
    """

    def __init__(
        self,
        study: Study,
        space: SearchSpace,
        objective: Objective,
        sampler: BaseSampler,
        *,
        trials: int,
        batch: int = 1,
        limits: Limits | None = None,
        after: float = 0.0,
    ) -> None:
        self.study, self.space, self.objective, self.limits = study, space, objective, limits
        self.trials, self._batch, self._after = trials, batch, after
        self._better = objectives(objective.better)
        self._worst, self._reward = WorstSoFar(self._better), WindowedReward(self._better)
        self.rows: list[TrialRow] = []  #: one for each evaluated architecture
        self.measurements: dict[str, Measurement] = {}  #: by the text of the architecture
        self.exhausted = False  #: whether the sampler has nothing new
        self.any_valid = False  #: whether a row has a value of every objective
        self._draws = Counter[str]()  # of each network
        self._started = time.monotonic()
        study.sampler = sampler
        if isinstance(sampler, SpaceSampler):
            sampler.active = self._active
            sampler.limits = self._limiting or sampler.limits
        self._seconds = 0.0  # up to the last row
        self._catch_up()
        self._before = self._seconds

    @property
    def _limiting(self) -> Limits | None:
        return self.limits if self.limits is not None and self.limits.limited else None

    @property
    def seconds(self) -> float:
        """Wall-clock time of all sessions so far."""
        return self._before + time.monotonic() - self._started

    def run(self) -> Iterator[Progress]:
        """Search until the trials are done; yields the progress after each row."""
        dimensions = distributions(self.space.dimensions)
        requeue(self.study, dimensions)
        self._check_failures()
        resumed, limits = len(self.rows), self._limiting
        while not self.exhausted and (done := len(self.rows)) < self.trials:
            trials: list[Trial] = []
            try:
                for _ in range(min(self._batch - done % self._batch, self.trials - done)):
                    trials.append(ask(self.study, dimensions, limits))
            except NothingNewError:
                self.exhausted = True
            architectures = [self._shown(self.space.decode(trial.params)) for trial in trials]
            measured = self._evaluate(architectures)
            for trial, arch, measurement in zip(trials, architectures, measured, strict=True):
                self._tell(trial, str(arch), measurement)
                yield self._progress(resumed)
                self._check_failures()

    def beside(
        self, name: str, wanted: Mapping[str, tuple[Architecture, int]], evaluate: EvaluateAll
    ) -> Iterator[Progress]:
        """Evaluate architectures with seeds beside the trials; what there is, is not done again.

        The study keeps each at once, in an attribute: see :func:`asvit.search.study.stored`.
        """
        records = dict(self.study.user_attrs.get(name, {}))
        missing = {key: one for key, one in wanted.items() if key not in records}
        started, resumed = time.monotonic(), len(wanted) - len(missing)
        if not missing:
            return
        measured = zip(missing, evaluate(*zip(*missing.values(), strict=True)), strict=True)
        for done, (key, measurement) in enumerate(measured, start=resumed + 1):
            records[key] = to_json(measurement)
            self.study.set_user_attr(name, records)
            seconds = time.monotonic() - started
            yield Progress("finalist", done, len(wanted), resumed=resumed, seconds=seconds)

    def failure(self, what: str = "") -> ValueError:
        """The error that everything failed, or ``what``, with the last reason."""
        what = what or f"all of the first {quantity(len(self.rows), self.objective.unit)}"
        last = [row for row in self.rows if row.state == "failed"][-1:]  # none if only fresh ones
        why = "".join(f"; the last one, {row.architecture}, because {row.reason}" for row in last)
        return ValueError(f"{what} failed{why}; once that is mended, {ELSEWHERE}")

    def _evaluate(self, architectures: Sequence[Architecture]) -> Iterator[Measurement]:
        """The measurement of each architecture in order; known ones are not measured again."""
        if self.objective.repeated:
            draws, seeds = self._draws.copy(), list[int]()
            for network in map(self._network, architectures):
                seeds.append(draws[network])
                draws[network] += 1
            yield from self.objective.evaluate(architectures, seeds)
            return
        known = dict(self.measurements)
        new = {str(arch): arch for arch in architectures if str(arch) not in known}
        fresh = iter(self.objective.evaluate([*new.values()], [0] * len(new)))
        for text in map(str, architectures):
            if text not in known:
                known[text] = next(fresh)
            yield known[text]

    def _network(self, arch: Architecture) -> str:
        return str(arch if self.limits is None else self.limits.network(arch))

    def _shown(self, arch: Architecture) -> Architecture:
        return arch if self.limits is None else self.limits.shown(arch)

    def _active(self, params: Mapping[str, Any]) -> Sequence[str]:
        """The dimensions that count for these choices."""
        return [*[self.space.branch] * bool(self.space.branch), *self.space.active(params)]

    def _tell(self, trial: Trial, text: str, measurement: Measurement) -> None:
        record = {"architecture": text, "seconds": self.seconds, **to_json(measurement)}
        trial.set_user_attr(MEASURED, record)
        self.study.tell(trial, list(self._worst.fill(measurement.values).values()))
        self._catch_up()

    def _catch_up(self) -> None:
        """Add the trials that were evaluated since the last call."""
        trials, known = measured_trials(self.study), len(self.rows)
        for trial in trials[known:]:
            if MEASURED not in trial.user_attrs:
                raise ValueError(
                    f"trial {trial.number} of the study was not measured by this search; "
                    "give --out for a new folder"
                )
        entropies = [math.nan] * len(trials)
        if isinstance(self.study.sampler, ReinforceSampler):
            entropies = list(self.study.sampler.entropies(self.study))
        for trial, entropy in zip(trials[known:], entropies[known:], strict=True):
            self._append(trial, entropy)

    def _append(self, trial: FrozenTrial, entropy: float) -> None:
        record = trial.user_attrs[MEASURED]
        measurement = from_json(record, Measurement)
        row = TrialRow(
            number=len(self.rows),
            architecture=record["architecture"],
            params=measurement.params,
            macs=measurement.macs,
            values={name: measurement.values[name] for name in self.objective.better},
            reward=self._reward.update(self._worst.fill(measurement.values)),
            entropy=entropy,
            state="failed" if measurement.reasons else "complete",
            reason=measurement.reason,
        )
        self.rows.append(row)
        self.measurements[row.architecture] = measurement
        self._seconds = record["seconds"]
        self.any_valid |= all(math.isfinite(row.values[name]) for name in self._better)
        if self.objective.repeated:
            self._draws[self._network(self.space.decode(trial.params))] += 1

    def _progress(self, resumed: int) -> Progress:
        """The progress after the last row."""
        row = self.rows[-1]
        parts = [f"entropy {row.entropy:.2f}"] if math.isfinite(row.entropy) else []
        for best in best_rows(self.rows, self._better, count=1):
            values = (f"{short(name)} {number(value)}" for name, value in best.values.items())
            parts.append(f"best {best.architecture} ({', '.join(values)})")
        failures = sum(row.state == "failed" for row in self.rows)
        return Progress(
            self.objective.unit,
            len(self.rows),
            self.trials,
            resumed=resumed,
            seconds=time.monotonic() - self._started,
            state="  ".join([*parts, *([f"failed {failures}"] if failures else [])]),
            record=row,
            after=self._after,
        )

    def _check_failures(self) -> None:
        if len(self.rows) >= _MOST_FAILURES and not self.any_valid:
            raise self.failure()

"""The search itself: ask the controller, measure, tell the study, until enough are measured."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

from optuna.study import Study
from optuna.trial import FrozenTrial, Trial

from asvit.core.codec import from_json, to_json
from asvit.core.console import number, quantity, short
from asvit.core.continuing import ELSEWHERE
from asvit.core.progress import Progress
from asvit.search.controllers import get_controller
from asvit.search.front import BEST, best_rows, objectives, picked
from asvit.search.limits import Limits
from asvit.search.policy import WindowedReward, WorstSoFar
from asvit.search.rows import EvaluateAll, Finalist, Measurement, PredictorCheck, TrialRow
from asvit.search.sampler import (
    MEASURED,
    ORIGIN,
    UNIFORM,
    ReinforceSampler,
    SpaceSampler,
    distributions,
    measured_trials,
)
from asvit.search.settings import MeasureSearchSettings, SearchSettings
from asvit.search.study import ask, requeue, storing
from asvit.search.trained import networks_by_hand
from asvit.spaces.base import Architecture, SearchSpace
from proxies.latency import Latency
from scaling.ranking import Directions

T = TypeVar("T")
Time = Callable[[Architecture], Latency]  # measures a network

_UNDRAWN = "measured beside the draws"  # user attributes of the study: text to measurement
_LATENCY = "latency of {}"  # at the network's text
_LATENCY_AGAIN = "latency again of {}"  # the same in a process of its own
_AGAIN = "finalists on {} networks"
_MOST_FAILURES = 10  # at the start, with nothing else, after which a search gives up


class History:
    """The measured architectures of a study as rows, in the order in which they were asked for.

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
        self.worst = WorstSoFar(self.objectives)
        self._reward = WindowedReward(self.objectives)
        self.rows: list[TrialRow] = []
        self.measurements: dict[str, Measurement] = {}  # of the architecture of a text
        self.seconds = 0.0  # wall-clock time of the search up to the last row
        self.any_valid = False  # whether a row has a value of every objective
        self.catch_up()

    def catch_up(self) -> None:
        """Add the trials that were measured since the last call."""
        trials, known = measured_trials(self._study), len(self.rows)
        for trial in trials[known:]:
            if MEASURED not in trial.user_attrs:
                raise ValueError(
                    f"trial {trial.number} of the study was not measured by this search; "
                    "give --out for a new folder"
                )
        sampler, entropies = self._study.sampler, [math.nan] * len(trials)
        if isinstance(sampler, ReinforceSampler):
            entropies = list(sampler.entropies(trials))
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
            values={name: measurement.values[name] for name in self._better},
            reward=self._reward.update(self.worst.fill(measurement.values)),
            entropy=entropy,
            state="failed" if measurement.reasons else "complete",
            reason=measurement.reason,
            **self._of_family(trial, record["architecture"]),
        )
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


@dataclass
class Search:
    """A search in progress: the study, and the rows that follow from it.

    :class:`TrainingSearch` trains architectures instead of measuring them.
    """

    unit: ClassVar = "step"

    study: Study  #: with the measured trials so far
    space: SearchSpace  #: what is searched
    settings: MeasureSearchSettings
    #: Measure to its direction; the measures with one are the objectives.
    better: Directions
    evaluate: EvaluateAll = field(kw_only=True)  #: measures architectures
    #: The same on fresh networks; None where measuring again tells nothing new.
    evaluate_again: EvaluateAll | None = field(default=None, kw_only=True)
    #: Measures the latency of a network; None where it is not limited.
    time: Time | None = field(default=None, kw_only=True)
    #: The same in a process of its own, as finalists are timed.
    time_again: Time | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        self._started = time.monotonic()
        self._history = History(self.study, self.space, self.settings, self.better)
        self._seconds_before = self._history.seconds
        self._latencies: dict[str, Latency] = {}
        timed = None if self.time is None else self._milliseconds
        self.limits = Limits(self.space, self.settings, timed)
        if isinstance(self.study.sampler, SpaceSampler):
            self.study.sampler.active = self._active
            if self.settings.limited:
                self.study.sampler.limits = self.limits
        self.finalists: Sequence[Finalist] = ()
        self.tradeoff: Sequence[Finalist] = ()  # of a search by trainings
        self.check: PredictorCheck | None = None  # of a search with a predictor
        self.retrainings = 0  # of finalists

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
        """
        with storing():
            requeue(self.study)
        self._check_failures()
        resumed = len(self.rows)
        steps, batch = self.settings.trials, self.settings.batch
        dimensions = distributions(self.space.dimensions)
        limits = self.limits if self.settings.limited else None
        while (done := len(self.rows)) < steps:
            left = min(batch - done % batch, steps - done)  # of the batch, or of the search
            with storing():
                trials = [ask(self.study, dimensions, limits) for _ in range(left)]
            architectures = [self.limits.shown(self.space.decode(t.params)) for t in trials]
            measured = self._measure(trials, architectures)
            for trial, arch, measurement in zip(trials, architectures, measured, strict=True):
                with storing():
                    self._tell(trial, str(arch), measurement)
                yield self._progress(resumed)
                self._check_failures()

    def _active(self, params: Mapping[str, Any]) -> Sequence[str]:
        """The dimensions that count for these choices."""
        return [*[self.space.branch] * bool(self.space.branch), *self.space.active(params)]

    def latency(self, arch: Architecture) -> Latency | None:
        """The latency of a finalist's network, measured again; None without a limit."""
        if self.time_again is None:
            return None
        return self._timed(self.limits.network(arch), _LATENCY_AGAIN, self.time_again)

    def _within_latency(self, finalists: Sequence[Finalist]) -> Sequence[Finalist]:
        """Finalists within the latency limit when they are timed again; all if none is."""
        most = self.settings.max_latency or math.inf
        return [
            finalist
            for finalist in finalists
            if finalist.latency is None or finalist.latency.milliseconds <= most
        ] or finalists

    def _milliseconds(self, network: Architecture) -> float:
        assert self.time is not None
        return self._timed(network, _LATENCY, self.time).milliseconds

    def _timed(self, network: Architecture, attribute: str, time: Time) -> Latency:
        """The latency of a network, measured once in the study's life."""
        name = attribute.format(network)
        if name not in self._latencies:
            stored = self.study.user_attrs.get(name)
            latency = time(network) if stored is None else from_json(stored, Latency)
            if stored is None:
                with storing():
                    self.study.set_user_attr(name, to_json(latency))
            self._latencies[name] = latency
        return self._latencies[name]

    def conclude(self) -> Iterable[Progress]:
        """Measure the finalists again, and choose :attr:`seed` of these :attr:`finalists`.

        The best of many noisy values owes much to luck, which fresh networks take away. The
        study keeps what is measured here, too. Yields the progress after each finalist.
        """
        candidates, likeliest = self._candidates()
        measured, attribute = self._history.measurements, _AGAIN.format(self.settings.recheck)
        unmeasured = {text: arch for text, arch in candidates.items() if text not in measured}
        for _ in self._again(_UNDRAWN, unmeasured, self.evaluate):
            pass
        if self.evaluate_again is not None:
            yield from self._again(attribute, candidates, self.evaluate_again)
        first = {row.architecture: row.number for row in reversed(self.rows)}
        known, again = {**self._stored(_UNDRAWN), **measured}, self._stored(attribute)
        by_hand = networks_by_hand(self.space, self.limits) if self.space.branch else set[str]()
        self.finalists = [
            Finalist(
                architecture=text,
                latency=self.latency(arch),
                number=first.get(text),
                likeliest=text == likeliest,
                params=known[text].params,
                macs=known[text].macs,
                values={name: known[text].values[name] for name in self.better},
                again=again[text].values if text in again else {},
                reason=known[text].reason,
                family=self.space.family_of(text) if self.space.branch else "",
                by_hand=str(self.limits.network(arch)) in by_hand,
            )
            for text, arch in candidates.items()
        ]
        self.seed = picked(self._within_latency(self.finalists), self.better, self.settings.pick)

    def _candidates(self) -> tuple[Mapping[str, Architecture], str | None]:
        """The finalists by their texts, and which of them is the policy's likeliest.

        That one comes first, then the ten with the smallest sums of dense ranks over the
        objectives.
        """
        best = best_rows(self.rows, self._history.objectives)
        if not best:
            raise ValueError(self._failure_message())
        sampler, trials = self.study.sampler, measured_trials(self.study)
        params = [trials[row.number].params for row in best]
        if isinstance(sampler, ReinforceSampler):
            likeliest = sampler.likeliest(self.study)
            if self.limits.excess(self.space.decode(likeliest)) is None:
                params.insert(0, likeliest)
        architectures = (self.limits.shown(self.space.decode(choice)) for choice in params)
        candidates = {str(arch): arch for arch in architectures}
        return candidates, next(iter(candidates)) if len(params) > len(best) else None

    def _stored(self, name: str) -> dict[str, Measurement]:
        """The measurements in an attribute of the study, by text."""
        records = self.study.user_attrs.get(name, {})
        return {text: from_json(record, Measurement) for text, record in records.items()}

    def _again(
        self,
        name: str,
        wanted: Mapping[str, T],
        evaluate: Callable[[Sequence[T]], Iterable[Measurement]],
    ) -> Iterator[Progress]:
        """Measure what an attribute of the study lacks; each measurement is stored at once."""
        records = dict(self.study.user_attrs.get(name, {}))
        missing = {key: one for key, one in wanted.items() if key not in records}
        started, resumed = time.monotonic(), len(wanted) - len(missing)
        measured = zip(missing, evaluate([*missing.values()]) if missing else (), strict=True)
        for done, (key, measurement) in enumerate(measured, start=resumed + 1):
            records[key] = to_json(measurement)
            with storing():
                self.study.set_user_attr(name, records)
            seconds = time.monotonic() - started
            yield Progress("finalist", done, len(wanted), resumed=resumed, seconds=seconds)

    def _measure(
        self, trials: Sequence[Trial], architectures: Sequence[Architecture]
    ) -> Iterable[Measurement]:
        """The measurement of each architecture in order; known ones are not measured again."""
        stored = dict(self._history.measurements)
        distinct = {str(arch): arch for arch in architectures}
        fresh = iter(self.evaluate([a for text, a in distinct.items() if text not in stored]))
        for text in map(str, architectures):
            if text not in stored:
                stored[text] = next(fresh)
            yield stored[text]

    def _tell(self, trial: Trial, text: str, measurement: Measurement) -> None:
        record = {"architecture": text, "seconds": self.seconds, **to_json(measurement)}
        trial.set_user_attr(MEASURED, record)
        self.study.tell(trial, list(self._history.worst.fill(measurement.values).values()))
        self._history.catch_up()

    def _progress(self, resumed: int) -> Progress:
        """The progress after the last row."""
        return Progress(
            self.unit,
            len(self.rows),
            self.settings.trials,
            resumed=resumed,
            seconds=time.monotonic() - self._started,
            state=self._state(self.rows[-1]),
            record=self.rows[-1],
            after=self._after,
        )

    @property
    def _after(self) -> float:
        """How many steps take as long as the finalists, roughly: they are known in the end."""
        if self.evaluate_again is None:
            return 0.0
        finalists = min(BEST, self.settings.trials) + 1
        return finalists * self.settings.recheck / self.settings.repeats

    def _state(self, row: TrialRow) -> str:
        """Entropy, best so far and failures in a line; what there is not is left out."""
        parts = [f"entropy {row.entropy:.2f}"] if math.isfinite(row.entropy) else []
        for best in best_rows(self.rows, self._history.objectives, count=1):
            values = (f"{short(name)} {number(value)}" for name, value in best.values.items())
            parts.append(f"best {best.architecture} ({', '.join(values)})")
        failures = sum(row.state == "failed" for row in self.rows)
        return "  ".join([*parts, *([f"failed {failures}"] if failures else [])])

    def _check_failures(self) -> None:
        if len(self.rows) >= _MOST_FAILURES and not self._history.any_valid:
            raise ValueError(self._failure_message())

    def _failure_message(self, what: str = "") -> str:
        what = what or f"all of the first {quantity(len(self.rows), self.settings.counted)}"
        last = [row for row in self.rows if row.state == "failed"][-1:]  # none if only fresh ones
        why = "".join(f"; the last one, {row.architecture}, because {row.reason}" for row in last)
        return f"{what} failed{why}; once that is mended, {ELSEWHERE}"

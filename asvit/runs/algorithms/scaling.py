"""The algorithm of scalings."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Self

from asvit.architectures.genotype import EXAMPLE
from asvit.core.console import count, number, short
from asvit.core.files import write_text
from asvit.core.latency_settings import pass_options
from asvit.core.progress import Progress, Tell, image_progress
from asvit.core.run_files import CANDIDATES, SERIES
from asvit.core.settings import WrongOption, wrong_option
from asvit.core.tables import csv_text
from asvit.data.sources import class_count
from asvit.growth.result import GrowthJournal, ScaleResult, Timed
from asvit.growth.seed import GrowthSeed, find_growable
from asvit.growth.settings import ScaleSettings
from asvit.measuring.latency import CAREFUL
from asvit.runs.algorithms.measuring import MeasuringAlgorithm
from asvit.runs.architectures import find_architecture, text_of
from asvit.runs.folder import newest_run
from asvit.runs.lifecycle import (
    earlier_result,
    finished_result,
)
from asvit.runs.measurement_pool import (
    EvalContext,
    MeasurementJob,
    MeasurementPool,
    Workload,
    in_job_order,
)
from asvit.runs.scaling import ScaleRun
from asvit.runs.timing import fresh_latency, latency
from proxies import Score
from proxies.messages import first_line
from scaling import GrowthEvent, Shape, Step, Trajectory, grow
from scaling.growth import SEED_KEY, directions
from scaling.trajectory import cells_of, rows_of

_NETWORKS = 150  # that a growth measures, about
_AT_ONCE = 16  # of them in a step
_GIGABYTES = 4.0  # that measuring one of the largest may need at 224 px
_STEP_RATIO = 1.1  # of the time of a step to that of the one before, about
_MOST_LEFT = 500  # steps that may be left; a tiny first step seems to leave thousands


class ScaleAlgorithm(MeasuringAlgorithm[ScaleSettings, ScaleResult, GrowthJournal], ScaleRun):
    """A scaling: an architecture grows step by step, the best of several candidates at each."""

    journal_type = GrowthJournal

    @classmethod
    def make(cls, preset: str = "default", **values: Any) -> Self:
        """As the base does; without an architecture, from the newest finished search."""
        architectures = (values.pop(name, None) for name in ("arch", "architecture"))
        with wrong_option():
            texts = {text_of(each) for each in architectures if each is not None}
        if len(texts) > 1:
            raise WrongOption(f"two architectures, {' and '.join(sorted(texts))}; give one")
        text = next(iter(texts), "")
        # Refuses wrong options before any run is looked for.
        super().make(preset, **values, architecture=text or EXAMPLE)
        if not texts:
            text = str(newest_run("search"))
            values["implied"] = {"architecture": text}
        with wrong_option():
            start = find_architecture(text)
            _, architecture = find_growable(start.text)
        if start.by is not None:
            values["seed_run"] = Path(start.by["run"])
        values |= {"architecture": str(architecture), "classes_of_data": "classes" not in values}
        return super().make(preset, **values)

    def resolved(self) -> Self:
        """With the classes of the data, unless a number was given; a finished run has its own."""
        if not self.classes_of_data:
            return self
        try:
            classes = class_count(self.settings.data)
        except FileNotFoundError:
            if (earlier := earlier_result(self)) is None:
                raise
            classes = earlier.settings.classes
        if classes is None:
            return self
        return replace(self, settings=replace(self.settings, classes=classes))

    def check(self) -> None:
        """Refuse unknown measures, and a start that cannot be grown as asked."""
        growable = self.growable
        if not self.settings.timed and finished_result(self) is None:
            growable.check_budget()
        directions(self.settings.proxies)

    @cached_property
    def growable(self) -> GrowthSeed:
        """The architecture at other depths and widths."""
        return GrowthSeed(self.settings)

    @cached_property
    def context(self) -> EvalContext:
        """Device and images to measure on."""
        progress = image_progress(self.progress)
        return EvalContext(self.settings, workers=self.workers, progress=progress)

    def free_settings(self, store: GrowthJournal) -> Sequence[str]:
        """The budget, where it is larger than before and of the same unit."""
        if store.settings is None:
            return ()
        before, now = store.settings.limits[-1], self.settings.limits[-1]
        extends = before.unit == now.unit and before.amount <= now.amount
        return ("budgets",) if extends else ()

    def load(self) -> Mapping[str, Any]:
        """Images and device."""
        return {"images": dict(self.context.provenance), "device": self.context.device}

    def execute(self, store: GrowthJournal, tell: Tell) -> ScaleResult:
        """Grow to the largest budget."""
        contexts = {self.settings.image_size: self.context}
        if self.settings.timed:
            self.growable.time = partial(self._time, store)
            self.growable.check_budget()
        pool = MeasurementPool(contexts, self.workers, self._load, space=self.growable.space)
        with closing(pool):
            trajectory = self._grow(store, pool, tell)
        series, reason, s = trajectory.rows(self.growable.name), trajectory.reason, self.settings
        if reason and s.timed:
            reason += f" ({s.targets[-1]} is {CAREFUL:.0%} of {s.limits[-1]}, as times vary)"
        seed_run = None if self.seed_run is None else str(self.seed_run)
        return self.result(
            store,
            {"seed_run": seed_run, **self.load()},
            space=self.growable.space.name,
            series=series,
            candidates=trajectory.rows(self.growable.name, candidates=True),
            reason=reason,
            next_command=self.training_command,
            latency=fresh_latency(series[-1].architecture, **self._pass) if s.timed else None,
        )

    @property
    def _load(self) -> Workload:
        """What there is to measure; the memory of a network grows at most as fast as its size."""
        budget = self.settings.targets[-1]
        larger = max(1.0, budget.amount / budget.of(self.growable.cost(*self.growable.start)))
        return Workload(_NETWORKS, _AT_ONCE, _GIGABYTES, self._first_job, larger)

    def _first_job(self) -> MeasurementJob:
        """The job that measures the start of the growth, at its reduced width."""
        s = self.settings
        text = self.growable.name(*self.growable.measured_start)
        return MeasurementJob(text, s.proxies, SEED_KEY, s.image_size)

    def _time(self, store: GrowthJournal, text: str) -> float:
        """Milliseconds of a forward pass of a network, timed once."""
        if text not in store.latencies:
            store.add_record(Timed(text, latency(text, **self._pass)))
        return store.latencies[text].milliseconds

    @property
    def _pass(self) -> Mapping[str, Any]:
        """The pass that is timed, but for its network."""
        s = self.settings
        sizes = {"image_size": s.count_size, "num_classes": s.classes}
        return {**sizes, "in_chans": self.growable.channels, **pass_options(s)}

    def _grow(self, store: GrowthJournal, pool: MeasurementPool, tell: Tell) -> Trajectory:
        """Grow, and write the tables of the run folder anew after every step."""
        settings, start = self.settings, self.growable.start
        steps: list[Step] = []
        resumed = 0.0  # share of the growth that earlier sessions measured

        def follow(event: GrowthEvent) -> None:
            nonlocal resumed
            if not event.fresh and math.isfinite(share := _share(event)):
                resumed = share
            if event.chosen is not None:
                steps.append(event.chosen)
                for name, every in ((CANDIDATES, True), (SERIES, False)):
                    rows = rows_of(steps, self.growable.name, candidates=every)
                    write_text(self.folder / name, csv_text(cells_of(rows)))
            tell(_progress(event, steps[-1:], resumed))

        return grow(
            self.growable.build,
            self.growable.cost,
            depths=start.depths,
            width=start.width,
            budget=settings.targets[-1],
            stop_within=settings.stop_within,
            ratio=settings.ratio,
            width_multiple=settings.width_multiple,
            width_step=self.growable.width_step,
            measures=settings.proxies,
            known=store,
            measure_shapes=partial(self._measure_shapes, pool),
            progress=follow,
        )

    def _measure_shapes(
        self, pool: MeasurementPool, shapes: Sequence[Shape]
    ) -> Iterator[Mapping[str, Score]]:
        """The scores of each shape; all failed where there is no such network."""
        names, side = self.settings.proxies, self.settings.image_size
        jobs: list[MeasurementJob] = []
        for shape in shapes:
            try:
                jobs.append(MeasurementJob(self.growable.name(*shape), names, SEED_KEY, side))
            except ValueError as error:
                jobs.append(MeasurementJob("", names, SEED_KEY, side, refused=first_line(error)))
        return (measured.scores for measured in in_job_order(pool.measure(jobs)))


def _share(event: GrowthEvent) -> float:
    """The share of a growth that is done, by the time that it takes; NaN if unknown.

    Steps are about evenly spaced on the logarithmic way to the budget, and their times make a
    geometric series.
    """
    steps, done = event.step, event.done
    left = steps * (1 - done) / done if done else math.inf
    if steps >= 1 and 0 < left < _MOST_LEFT:
        spent, whole = (_STEP_RATIO**count - 1 for count in (steps, steps + left))
        return spent / whole
    return 1.0 if done >= 1 else math.nan


def _progress(event: GrowthEvent, last: Sequence[Step], resumed: float = 0.0) -> Progress:
    """How far a growth is, of which earlier sessions did the share ``resumed``."""
    under_way = event.chosen is None
    state = f"candidate {event.measured}/{event.candidates} of step {event.step}"
    if last:
        state = f"{state}  after {_model(last[-1])}" if under_way else _model(last[-1])
    return Progress(
        "step",
        event.step - under_way,
        None,
        seconds=event.seconds,
        state=state,
        share=_share(event) if event.fresh or event.done >= 1 else math.nan,
        share_resumed=resumed,
        record=event.chosen,
    )


def _model(step: Step) -> str:
    """The model that a step ended in, in a few words."""
    chosen = step.chosen
    shape = f"depths {','.join(map(str, chosen.depths))} width {chosen.width}"
    values = (f"{short(name)} {number(score.value)}" for name, score in chosen.scores.items())
    return f"{shape} ({count(chosen.cost.params)} params, {', '.join(values)})"

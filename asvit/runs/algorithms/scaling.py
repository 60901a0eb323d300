"""The algorithm of scalings."""

from __future__ import annotations

import math
from collections import UserDict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any, cast

from asvit.architectures.genotype import EXAMPLE
from asvit.core.console import count, number, short
from asvit.core.errors import wrong_option
from asvit.core.files import write_text
from asvit.core.progress import Progress, image_progress
from asvit.core.run_files import CANDIDATES, SERIES
from asvit.core.settings import fields_of
from asvit.core.shared_settings import pass_options
from asvit.core.tables import csv_text
from asvit.data.sources import class_count
from asvit.executors import Workers
from asvit.executors.placement import on_cluster
from asvit.growth.result import Measured, ScaleResult
from asvit.growth.seed import GrowthSeed, find_growable
from asvit.growth.settings import ScaleSettings
from asvit.measuring.latency import CAREFUL, Timed
from asvit.reference.query import stored_reliability
from asvit.runs.algorithms.measuring import timing, training_command
from asvit.runs.folder import newest_run
from asvit.runs.measurement_pool import (
    EvalContext,
    MeasurementJob,
    MeasurementPool,
    Workload,
    in_job_order,
)
from asvit.runs.run_folder import Check, Prepared, RunFolder, Start
from asvit.runs.timing import fresh_latency, latency
from asvit.use.architectures import find_architecture, text_of
from proxies import Score
from proxies.messages import first_line
from scaling import GrowthEvent, Shape, Step, Trajectory, grow
from scaling.growth import SEED_KEY, directions
from scaling.trajectory import cells_of, rows_of

_JUDGE = "asvit-sizes"  # the bundled table whose stored scores judge the measures
_NETWORKS = 150  # that a growth measures, about
_AT_ONCE = 16  # of them in a step
_GIGABYTES = 4.0  # that measuring one of the largest may need at 224 px
_STEP_RATIO = 1.1  # of the time of a step to that of the one before, about
_MOST_LEFT = 500  # steps that may be left; a tiny first step seems to leave thousands


def prepare(values: dict[str, Any], check: Check) -> Prepared:
    """The architecture of a text, of a run, or of the newest finished search.

    Raises:
        WrongOption: If two are given, or it cannot be grown.
    """
    with wrong_option():
        given = [values.pop(name, None) for name in ("arch", "architecture")]
        texts = {text_of(each) for each in given if each is not None}
        if len(texts) > 1:
            raise ValueError(f"two architectures, {' and '.join(sorted(texts))}; give one")
    facts: dict[str, Any] = {}
    check({**values, "architecture": min(texts, default=EXAMPLE)})
    if not texts:
        newest = str(newest_run("search"))
        texts, facts["implied"] = {newest}, {"architecture": newest}
    with wrong_option():
        start = find_architecture(texts.pop())
        _, architecture = find_growable(start.text)
    facts["seed_run"] = None if start.by is None else str(start.by["run"])
    return {**values, "architecture": str(architecture)}, facts


def execute(asked: ScaleSettings, run: RunFolder[ScaleSettings, ScaleResult]) -> ScaleResult:
    """Grow an architecture step by step, the best of several candidates at each."""
    s, workers = _with_classes(asked, run.arguments), run.options.workers
    directions(s.proxies)  # refuses unknown measures
    seed = GrowthSeed(s)
    if not s.timed:
        seed.check_budget()
    run.title = _title(s, run.facts["seed_run"], workers)
    context = EvalContext(s, workers=workers, progress=image_progress(run.tell))
    run.begin(
        s,
        free=["budgets"] * _extends(s, run.start),
        images=dict(context.provenance),
        device=context.device,
        **timing(s, s.proxies, workers),
    )
    timed_pass = {
        "image_size": s.count_size,
        "num_classes": s.classes,
        "in_chans": seed.channels,
        **pass_options(s),
    }
    if s.timed:
        seed.time = _Times(run, timed_pass)
        seed.check_budget()
    load = Workload(_NETWORKS, _AT_ONCE, _GIGABYTES, s.proxies)
    pool = MeasurementPool({s.image_size: context}, workers, load, space=seed.space)
    with closing(pool):
        grown = _grow(s, seed, run, pool)
    series, reason = grown.rows(seed.name), grown.reason
    if reason and s.timed:
        reason += f" ({s.targets[-1]} is {CAREFUL:.0%} of {s.limits[-1]}, as times vary)"
    return run.result(
        {"seed_run": run.facts["seed_run"]},
        space=seed.space.name,
        series=series,
        candidates=grown.rows(seed.name, candidates=True),
        reason=reason,
        next_command=training_command(run.folder, s),
        latency=fresh_latency(series[-1].architecture, **timed_pass) if s.timed else None,
        reliability=stored_reliability(_JUDGE, s.proxies),
    )


def _with_classes(s: ScaleSettings, given: Collection[str]) -> ScaleSettings:
    """The settings with the classes of the data, unless a number was given."""
    classes = None if "classes" in given else class_count(s.data)
    return s if classes is None else replace(s, classes=classes)


def _extends(s: ScaleSettings, start: Start | None) -> bool:
    """Whether the budget is at least that of an earlier session, in its unit."""
    if start is None:
        return False
    before, now = cast("ScaleSettings", start.settings).limits[-1], s.limits[-1]
    return before.unit == now.unit and before.amount <= now.amount


def _title(s: ScaleSettings, seed_run: str | None, workers: Workers | None) -> str:
    """What is about to be grown, and on what."""
    origin = "--arch" if seed_run is None else f"the result of {seed_run}"
    growth = f"growing {s.architecture} ({origin}) to {s.budgets[-1]}"
    if s.classes != fields_of(ScaleSettings)["classes"].default:
        growth += f" with {s.classes:,} classes"
    return f"{growth}: {s.in_words(on_cluster(s.device, workers))}"


class _Times:
    """Milliseconds of a forward pass of each network, timed once in the life of a run."""

    def __init__(self, run: RunFolder[ScaleSettings, ScaleResult], timed: Mapping[str, Any]):
        self._run, self._pass = run, timed
        self._known = {one.architecture: one.latency for one in run.of(Timed)}

    def __call__(self, text: str) -> float:
        if text not in self._known:
            self._known[text] = latency(text, **self._pass)
            self._run.add(Timed(text, self._known[text]))
        return self._known[text].milliseconds


class _Scores(UserDict[Shape, Mapping[str, Score]]):
    """The scores of shapes, which the run keeps."""

    def __init__(self, run: RunFolder[ScaleSettings, ScaleResult]) -> None:
        super().__init__()
        self.data = {Shape(one.depths, one.width): one.scores for one in run.of(Measured)}
        self._run = run

    def __setitem__(self, shape: Shape, scores: Mapping[str, Score]) -> None:
        self._run.add(Measured(shape.depths, shape.width, scores))
        super().__setitem__(shape, scores)


def _grow(
    s: ScaleSettings,
    seed: GrowthSeed,
    run: RunFolder[ScaleSettings, ScaleResult],
    pool: MeasurementPool,
) -> Trajectory:
    """Grow, and write the tables of the run folder anew after every step."""
    steps: list[Step] = []
    resumed = 0.0  # share of the growth that earlier sessions measured

    def follow(event: GrowthEvent) -> None:
        nonlocal resumed
        if not event.fresh and math.isfinite(share := _share(event)):
            resumed = share
        if event.chosen is not None:
            steps.append(event.chosen)
            for name, every in ((CANDIDATES, True), (SERIES, False)):
                rows = rows_of(steps, seed.name, candidates=every)
                write_text(run.folder / name, csv_text(cells_of(rows)))
        run.tell(_progress(event, steps[-1:], resumed))

    def measure(shapes: Sequence[Shape]) -> Iterator[Mapping[str, Score]]:
        """The scores of each shape; all failed where there is no such network."""
        jobs: list[MeasurementJob] = []
        for shape in shapes:
            text, refused = "", ""
            try:
                text = seed.name(*shape)
            except ValueError as error:
                refused = first_line(error)
            job = MeasurementJob(text, s.proxies, SEED_KEY, s.image_size, refused=refused)
            jobs.append(job)
        return (measured.scores for measured in in_job_order(pool.measure(jobs)))

    return grow(
        seed.build,
        seed.cost,
        depths=seed.start.depths,
        width=seed.start.width,
        budget=s.targets[-1],
        stop_within=s.stop_within,
        ratio=s.ratio,
        width_multiple=s.width_multiple,
        width_step=seed.width_step,
        measures=s.proxies,
        known=_Scores(run),
        measure_shapes=measure,
        progress=follow,
    )


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

"""The algorithm of scalings."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
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
from asvit.core.tables import csv_text
from asvit.data.sources import class_count
from asvit.executors.placement import on_cluster
from asvit.growth.result import Measured, ScaleResult
from asvit.growth.seed import GrowthSeed, find_growable
from asvit.growth.settings import ScaleSettings
from asvit.measuring.latency import CAREFUL
from asvit.reference.query import stored_reliability
from asvit.runs.algorithms.measuring import NetworkTimes, timing, training_command
from asvit.runs.folder import newest_run
from asvit.runs.measurement_pool import (
    EvalContext,
    MeasurementJob,
    MeasurementPool,
    Workload,
    in_job_order,
)
from asvit.runs.run_folder import Check, Prepared, RunFolder
from asvit.use.architectures import find_architecture, text_of
from proxies import Score
from proxies.messages import first_line
from scaling import GrowthEvent, Shape, Step, grow
from scaling.growth import SEED_KEY, directions
from scaling.trajectory import cells_of, rows_of

Run = RunFolder[ScaleSettings, ScaleResult]

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


def execute(asked: ScaleSettings, run: Run) -> ScaleResult:
    """Grow an architecture step by step, the best of several candidates at each."""
    classes = None if "classes" in run.arguments else class_count(asked.data)
    s = asked if classes is None else replace(asked, classes=classes)
    workers, seed_run = run.options.workers, run.facts["seed_run"]
    directions(s.proxies)  # refuses unknown measures
    seed = GrowthSeed(s)
    if not s.timed:
        seed.check_budget()
    origin = "--arch" if seed_run is None else f"the result of {seed_run}"
    run.title = f"growing {s.architecture} ({origin}) to {s.budgets[-1]}"
    if s.classes != fields_of(ScaleSettings)["classes"].default:
        run.title += f" with {s.classes:,} classes"
    run.title += f": {s.in_words(on_cluster(s.device, workers))}"
    context = EvalContext(s, workers=workers, progress=image_progress(run.tell))
    before = None if run.start is None else cast("ScaleSettings", run.start.settings)
    run.begin(
        s,
        free=["budgets"] if before is not None and s.extends(before) else [],
        images=dict(context.provenance),
        device=context.device,
        **timing(s, s.proxies, workers),
    )
    times = None
    if s.timed:
        sizes = {"classes": s.classes, "channels": seed.channels}
        times = NetworkTimes(run, s, image_size=s.count_size, **sizes)
        seed.time = times.milliseconds
        seed.check_budget()
    steps: list[Step] = []
    resumed = 0.0  # share of the growth that earlier sessions measured

    def measure(shapes: Sequence[Shape]) -> Iterator[Mapping[str, Score]]:
        """The scores of each shape, stored as they come; all failed where there is no network."""
        jobs = [_job(s, seed, shape) for shape in shapes]
        measured = in_job_order(pool.measure(jobs))
        for shape, one in zip(shapes, measured, strict=True):
            run.add(Measured(shape.depths, shape.width, one.scores))
            yield one.scores

    def follow(event: GrowthEvent) -> None:
        """Write the tables anew after every step, and tell of it."""
        nonlocal resumed
        if not event.fresh and math.isfinite(share := _share(event)):
            resumed = share
        if event.chosen is not None:
            steps.append(event.chosen)
            for file, every in ((CANDIDATES, True), (SERIES, False)):
                rows = rows_of(steps, seed.name, candidates=every)
                write_text(run.folder / file, csv_text(cells_of(rows)))
        run.tell(_progress(event, steps[-1] if steps else None, resumed))

    target = s.targets[-1]
    load = Workload(_NETWORKS, _AT_ONCE, _GIGABYTES, s.proxies)
    pool = MeasurementPool({s.image_size: context}, workers, load, space=seed.space)
    with closing(pool):
        grown = grow(
            seed.build,
            seed.cost,
            depths=seed.start.depths,
            width=seed.start.width,
            budget=target,
            stop_within=s.stop_within,
            ratio=s.ratio,
            width_multiple=s.width_multiple,
            width_step=seed.width_step,
            measures=s.proxies,
            known={Shape(one.depths, one.width): one.scores for one in run.of(Measured)},
            measure_shapes=measure,
            progress=follow,
        )
    series, reason = grown.rows(seed.name), grown.reason
    if reason and s.timed:
        reason += f" ({target} is {CAREFUL:.0%} of {s.limits[-1]}, as times vary)"
    return run.result(
        {"seed_run": seed_run},
        space=seed.space.name,
        series=series,
        candidates=grown.rows(seed.name, candidates=True),
        reason=reason,
        next_command=training_command(run.folder, s),
        latency=None if times is None else times.again(series[-1].architecture),
        reliability=stored_reliability(_JUDGE, s.proxies),
    )


def _job(s: ScaleSettings, seed: GrowthSeed, shape: Shape) -> MeasurementJob:
    """The network of a shape, to be measured; refused where there is none."""
    text, refused = "", ""
    try:
        text = seed.name(*shape)
    except ValueError as error:
        refused = first_line(error)
    return MeasurementJob(text, s.proxies, SEED_KEY, s.image_size, refused=refused)


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


def _progress(event: GrowthEvent, last: Step | None, resumed: float) -> Progress:
    """How far a growth is, of which earlier sessions did the share ``resumed``."""
    under_way = event.chosen is None
    state = f"candidate {event.measured}/{event.candidates} of step {event.step}"
    if last is not None:
        chosen = last.chosen
        values = (f"{short(name)} {number(score.value)}" for name, score in chosen.scores.items())
        model = (
            f"depths {','.join(map(str, chosen.depths))} width {chosen.width} "
            f"({count(chosen.cost.params)} params, {', '.join(values)})"
        )
        state = f"{state}  after {model}" if under_way else model
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

"""The algorithm of correlations."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

from asvit.core.console import number, short
from asvit.core.continuing import check_same
from asvit.core.errors import wrong_option
from asvit.core.files import write_text
from asvit.core.progress import Progress, image_progress
from asvit.core.run_files import CORRELATIONS, VALUES
from asvit.executors.placement import device_of, on_cluster
from asvit.predictor.validation import predictor_findings
from asvit.reference.findings import sort_findings, to_csv
from asvit.reference.query import (
    Plan,
    correlate_all,
    count_columns,
    gather,
    make_plan,
    resolve,
)
from asvit.reference.result import CorrelationResult, ImagesOfSize, Scored
from asvit.reference.settings import CorrelationSettings
from asvit.reference.table import ReferenceTable, check_rows, load_reference
from asvit.runs.algorithms.measuring import timing
from asvit.runs.folder import remove_files
from asvit.runs.measurement_pool import EvalContext, MeasurementJob, MeasurementPool, Workload
from asvit.runs.run_folder import Check, Prepared, RunFolder
from asvit.spaces.architectures import choice_features
from proxies import Score

_GIGABYTES = 4.0  # that measuring one of timm's larger networks may need
_MOST_VALUES = 3  # measures of an architecture that a line has room for

Run = RunFolder[CorrelationSettings, CorrelationResult]


def prepare(values: dict[str, Any], check: Check) -> Prepared:
    """The reference table; its parameters are counted where they decide on rows."""
    check({**values, "reference": "table"})
    counted = values.get("max_params") is not None
    table = load_reference(values["reference"], check=counted)
    built = counted or table.shipped or isinstance(values["reference"], ReferenceTable)
    place = table.name if table.shipped else str(table.path)
    return {**values, "reference": place}, {"table": table, "built": built}


def execute(s: CorrelationSettings, run: Run) -> CorrelationResult:
    """Measure the rows of the table that no score is stored of, then correlate."""
    table, workers = run.facts["table"], run.options.workers
    with wrong_option():
        plan = make_plan(table, s)
    run.title = (
        f"measuring {len(plan.rows)} architectures of {table.name}: {len(plan.measures)} "
        f"measures, {s.in_words(on_cluster(s.device, workers))}"
    )
    device = device_of(s.device, workers)
    jobs = _missing(plan, s, _scores(run))
    contexts = {
        side: EvalContext(
            replace(s, device=device),
            image_size=side,
            workers=workers,
            progress=image_progress(run.tell),
        )
        for side in dict.fromkeys(job.side for job in jobs)
    }
    if not run.facts["built"]:
        check_rows(table, [table.architectures.index(job.key) for job in jobs])
    run.begin(
        s,
        table={"source": table.name, "digest": table.digest},
        device=device,
        **timing(s, [name for job in jobs for name in job.names], workers),
    )
    earlier = run.earlier_result()
    if not jobs and earlier is not None and _answers(earlier, s, plan):
        return earlier
    known = {of.image_size: of.images for of in run.of(ImagesOfSize)}
    for side, context in contexts.items():
        images = context.provenance
        if side in known:
            check_same(run.folder, {"images": known[side]}, {"images": images})
        else:
            run.add(ImagesOfSize(side, dict(images)))
    if jobs:
        pool = MeasurementPool(contexts, workers, _workload(jobs), num_classes=table.num_classes)
        with closing(pool):
            _measure(jobs, pool, run, total=len(plan.rows))
    values = gather(plan, s, _scores(run))
    predicted = predictor_findings(
        plan, counts=count_columns(values), image_size=s.image_size, seed=s.seed
    )
    findings = sort_findings([*correlate_all(plan, values, seed=s.seed), *predicted])
    remove_files(run.folder, CorrelationResult.figure_files(run.folder))
    write_text(run.folder / VALUES, values.to_csv())
    write_text(run.folder / CORRELATIONS, to_csv(findings))
    return run.result(
        {"images": {str(of.image_size): of.images for of in run.of(ImagesOfSize)}},
        reference=table.name,
        targets=tuple(table.targets[name] for name in plan.targets),
        rows=len(plan.rows),
        excluded=plan.excluded,
        correlations=findings,
        values=values,
    )


def _scores(run: Run) -> dict[str, dict[str, Score]]:
    """Architecture to measure to score, of all sessions."""
    scores = dict[str, dict[str, Score]]()
    for one in run.of(Scored):
        scores.setdefault(one.architecture, {}).update(one.scores)
    return scores


def _missing(
    plan: Plan, s: CorrelationSettings, scores: Mapping[str, Mapping[str, Score]]
) -> list[MeasurementJob]:
    """What has to be measured of each row."""
    jobs = list[MeasurementJob]()
    for row in plan.rows:
        text = plan.table.architectures[row]
        names = tuple(name for name in plan.measures if name not in scores.get(text, {}))
        if names:
            side = s.image_size or plan.table.image_sizes[row]
            jobs.append(MeasurementJob(text, names, text, side))
    return jobs


def _answers(result: CorrelationResult, s: CorrelationSettings, plan: Plan) -> bool:
    """Whether a result is all that is asked for, by the measures that are registered now."""
    measures = {row.measure for row in result.correlations if not row.predicted}
    there = (result.folder / CORRELATIONS).exists()
    return result.settings == s and measures == set(plan.shown) and there


def _measure(
    jobs: Sequence[MeasurementJob], pool: MeasurementPool, run: Run, *, total: int
) -> None:
    """Measure networks; the scores of each are stored as soon as they are there."""
    resumed, failures = total - len(jobs), 0
    for done, (place, measured) in enumerate(pool.measure(jobs), start=resumed + 1):
        row = Scored(jobs[place].key, measured.scores)
        run.add(row)
        failures += not all(score.valid for score in row.scores.values())
        words = f"{len(row.scores)} measures"
        if len(row.scores) <= _MOST_VALUES:
            values = (f"{short(name)} {number(one.value)}" for name, one in row.scores.items())
            words = ", ".join(values)
        state = f"{row.architecture} ({words}){f'  failed {failures}' if failures else ''}"
        run.tell(Progress("row", done, total, resumed, state=state, record=row))


def _workload(jobs: Sequence[MeasurementJob]) -> Workload:
    """What there is to measure; the guess of its time is for two measures of a network."""
    free = resolve([])  # counts take no time
    measures = sum(name not in free for job in jobs for name in job.names)
    names = tuple(dict.fromkeys(name for job in jobs for name in job.names))
    of_each_space = {choice_features(job.key)[0]: job.key for job in jobs}
    return Workload(
        math.ceil(measures / 2), len(jobs), _GIGABYTES, names, tuple(of_each_space.values())
    )

"""The algorithm of correlations."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any, cast

from asvit.core.console import number, short
from asvit.core.continuing import (
    Images,
    check_same,
)
from asvit.core.files import write_text
from asvit.core.progress import Progress, image_progress
from asvit.core.run_files import CORRELATIONS, RESULT, VALUES
from asvit.core.settings import wrong_option
from asvit.executors.placement import device_of, on_cluster
from asvit.predictor.validation import predictor_findings
from asvit.reference import ReferenceTable, load_reference
from asvit.reference.findings import (
    sort_findings,
    to_csv,
)
from asvit.reference.query import (
    Plan,
    correlate_all,
    count_columns,
    gather,
    make_plan,
    resolve,
)
from asvit.reference.result import CorrelationResult, ImagesOfSize, Scored
from asvit.reference.settings import CorrelationSettings, direction
from asvit.reference.table import check_rows
from asvit.runs.algorithms.measuring import timing
from asvit.runs.correlation import CorrelationOptions
from asvit.runs.folder import remove_files
from asvit.runs.measurement_pool import (
    EvalContext,
    MeasurementJob,
    MeasurementPool,
    Workload,
)
from asvit.runs.run_folder import RunFolder
from asvit.runs.scoring import ScoreRow
from asvit.spaces.architectures import choice_features
from proxies import Score

logger = logging.getLogger(__name__)

_GIGABYTES = 4.0  # that measuring one of timm's larger networks may need
_MOST_VALUES = 3  # measures of an architecture that a line has room for


Run = RunFolder[CorrelationSettings, CorrelationResult]
Scores = dict[str, dict[str, Score]]  # of an architecture, by measure


def folder_name(s: CorrelationSettings, options: CorrelationOptions) -> str:
    """Named after the table, the image sizes and the seed.

    The name of a file of one's own ends in the beginning of its digest: stems are often alike.
    """
    table = load_reference(options.reference, check=False)
    sizes = [s.image_size] if s.image_size else sorted(set(table.image_sizes))
    side = "-".join(map(str, dict.fromkeys((sizes[0], sizes[-1]))))
    name = table.name if table.shipped else f"{table.name}-{table.digest[:8]}"
    return f"correlate-{name}-{side}px-seed{s.seed}"


def execute(s: CorrelationSettings, run: Run) -> CorrelationResult:
    """Measure the rows of the table that no score is stored of, then correlate."""
    options, query = run.options, run.options.query
    table = load_reference(options.reference, check=query.most_params is not None)
    with wrong_option():
        plan = make_plan(table, query, seed=s.seed)
    how = s.in_words(on_cluster(s.device, options.workers))
    what = f"measuring {len(plan.rows)} architectures of {table.name}"
    run.title = f"{what}: {len(plan.measures)} measures, {how}"
    run.typed = {"reference": table.name if table.shipped else table.path}

    known = _known(run)
    due = _due(plan, known)
    if not isinstance(options.reference, ReferenceTable) and not table.shipped:
        check_rows(table, [*due])
    start: dict[str, Any] = {"table": {"source": table.name, "digest": table.digest}}
    contexts: dict[int, EvalContext] = {}
    if due:
        device = device_of(s.device, options.workers)  # of a cluster, which is asked once
        names = {name for of_row in due.values() for name in of_row}
        start |= {"device": device, **timing(s, names, options.workers)}
        contexts = {
            side: EvalContext(
                replace(s, device=device),
                image_size=side,
                workers=options.workers,
                progress=image_progress(run.tell),
            )
            for side in sorted({_side(s, table, row) for row in due})
        }
    run.begin(**start)
    if not due and (finished := _answer(run, plan)) is not None:
        return finished
    if due:
        _take_counts(s, plan, due, known, run)
    if due:
        _measure(s, plan, due, known, contexts, run)
    values = gather(plan, s, known)
    measured = correlate_all(plan, values, seed=s.seed)
    predicted = predictor_findings(
        plan, counts=count_columns(values), image_size=s.image_size, seed=s.seed
    )
    images = {str(one.image_size): dict(one.images) for one in run.of(ImagesOfSize)}
    correlations = sort_findings([*measured, *predicted])
    remove_files(run.folder, [*CorrelationResult.figure_files(run.folder), RESULT])
    write_text(run.folder / VALUES, values.to_csv())
    write_text(run.folder / CORRELATIONS, to_csv(correlations))
    return run.result(
        {"images": images},
        reference=table.name,
        digest=table.digest,
        targets=tuple(table.targets[name] for name in plan.targets),
        rows=len(plan.rows),
        excluded=plan.excluded,
        correlations=correlations,
        values=values,
        wall_seconds=sum(one.seconds for one in run.of(Scored)),
        question=query,
    )


def _known(run: Run) -> Scores:
    """The scores that earlier sessions stored."""
    known: Scores = {}
    for one in run.of(Scored):
        known.setdefault(one.architecture, {}).update(one.scores)
    return known


def _due(plan: Plan, known: Scores) -> dict[int, list[str]]:
    """What has to be measured: row to measures."""
    texts = plan.table.architectures
    missing = {
        row: [name for name in plan.measures if name not in known.get(texts[row], {})]
        for row in plan.rows
    }
    return {row: names for row, names in missing.items() if names}


def _side(s: CorrelationSettings, table: ReferenceTable, row: int) -> int:
    """Side of the images that a row is measured on, in pixels."""
    return s.image_size or table.image_sizes[row]


def _answer(run: Run, plan: Plan) -> CorrelationResult | None:
    """The stored result, if it answers the query by all measures that are registered now."""
    result = run.settled()
    if result is None or result.question != run.options.query:
        return None
    measures = {row.measure for row in result.correlations if not row.predicted}
    return result if measures == set(plan.shown) else None


def _store(run: Run, known: Scores, row: Scored) -> None:
    """Keep the scores of an architecture."""
    run.add(row)
    known.setdefault(row.architecture, {}).update(row.scores)


def _take_counts(
    s: CorrelationSettings, plan: Plan, due: dict[int, list[str]], known: Scores, run: Run
) -> None:
    """Take from a table that comes along what it has at the image size asked for."""
    table, total = plan.table, len(plan.rows)
    for row, names in list(due.items()):
        same_size = _side(s, table, row) == table.image_sizes[row]
        counts = {n: table.counts[n][row] for n in names if same_size and n in table.counts}
        scores = {
            name: Score(value, 0.0, (value,), direction(name))
            for name, value in counts.items()
            if math.isfinite(value)
        }
        if not scores:
            continue
        text = table.architectures[row]
        _store(run, known, Scored(text, 0.0, scores))
        due[row] = [name for name in names if name not in scores]
        if not due[row]:
            del due[row]
            run.tell(Progress("row", total - len(due), total, state=text))


def _measure(
    s: CorrelationSettings,
    plan: Plan,
    due: Mapping[int, Sequence[str]],
    known: Scores,
    contexts: Mapping[int, EvalContext],
    run: Run,
) -> None:
    """Measure what is due: row to measures. Every row is stored as soon as it is there."""
    texts = plan.table.architectures
    jobs = [
        MeasurementJob(texts[row], tuple(names), texts[row], _side(s, plan.table, row))
        for row, names in due.items()
    ]
    stored = {one.image_size: dict(one.images) for one in run.of(ImagesOfSize)}
    for side, context in contexts.items():
        if side in stored:
            check_same(run.folder, {"images": stored[side]}, {"images": context.provenance})
        else:
            run.add(ImagesOfSize(side, cast("Images", dict(context.provenance))))
    pool = MeasurementPool(
        contexts, run.options.workers, _workload(jobs), num_classes=plan.table.num_classes
    )
    total, resumed, failures = len(plan.rows), len(plan.rows) - len(jobs), 0
    start = previous = time.monotonic()
    with closing(pool):
        for done, (place, measured) in enumerate(pool.measure(jobs), start=resumed + 1):
            row = ScoreRow(jobs[place].key, measured.scores)
            now = time.monotonic()
            _store(run, known, Scored(row.architecture, round(now - previous, 3), row.scores))
            previous = now
            failures += not all(score.valid for score in row.scores.values())
            state = _state(row, failures)
            run.tell(Progress("row", done, total, resumed, now - start, state, record=row))


def _workload(jobs: Sequence[MeasurementJob]) -> Workload:
    """What there is to measure; the guess of its time is for two measures of a network."""
    free = resolve([])  # counts take no time
    measures = sum(name not in free for job in jobs for name in job.names)
    middle = jobs[len(jobs) // 2]
    names = tuple(dict.fromkeys(name for job in jobs for name in job.names))
    of_each_space = {choice_features(job.key)[0]: job for job in jobs}.values()
    known = [replace(job, names=names) for job in of_each_space]
    return Workload(math.ceil(measures / 2), len(jobs), _GIGABYTES, lambda: middle, known=known)


def _state(row: ScoreRow, failures: int) -> str:
    """What was measured last, and how many rows failed, in a few words."""
    measured = f"{len(row.scores)} measures"
    if len(row.scores) <= _MOST_VALUES:
        values = (f"{short(name)} {number(score.value)}" for name, score in row.scores.items())
        measured = ", ".join(values)
    return f"{row.architecture} ({measured}){f'  failed {failures}' if failures else ''}"

"""Correlations: how well measures rank the architectures of a reference table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asvit.core.console import clock
from asvit.core.run_files import CORRELATION_FIGURES, CORRELATIONS, VALUES
from asvit.core.signatures import CallOptions, with_options
from asvit.core.summary import Cell, SummaryPart, Table
from asvit.reference.findings import Finding, by_size, estimates, verdict
from asvit.reference.result import CorrelationResult, ImagesOfSize, Scored
from asvit.reference.settings import QUERY, CorrelationSettings
from asvit.runs.folder import RunFiles
from asvit.runs.run_folder import Kind
from asvit.runs.shared import MeasuringOptions

if TYPE_CHECKING:
    from asvit.executors import Workers
    from asvit.reference import ReferenceTable


_TRAINED = {
    "scratch": "trained from scratch",
    "distilled": "distilled from a teacher",
    "inherited": "weights inherited from a supernet",
    "unknown": "how the networks were trained is not known",
}
_SIZES = {"macs": "MACs"}


def summary(result: CorrelationResult) -> Iterator[SummaryPart]:
    """A table and a conclusion for each target."""
    for target in result.targets:
        findings = [row for row in result.correlations if row.target == target.name]
        heading = f"{result.reference}, {target.name}: {target.description}"
        trained = _TRAINED[target.training]
        if trained not in target.description and target.training not in target.description:
            heading += f"; {trained}"
        if target.noise_ceiling is not None:
            heading += f"; noise ceiling {target.noise_ceiling:.3f}"
        if any(row.within for row in findings):
            yield _table(by_size(findings), f"{heading}; at the same size", at_one_size=True)
        yield _table(findings, heading)
        yield from (f"{row.measure}: {row.reason}" for row in findings if row.reason)
        yield verdict(findings)
    left_out = "".join(f"; {count} {why}" for why, count in result.excluded.items())
    failed = sum(1 for reason in result.values.reasons if reason)
    reasons = f"; {failed} with a failed measure (reasons in values.csv)" if failed else ""
    yield (
        f"{result.rows} architectures of {result.reference}{left_out}{reasons}; in "
        f"{clock(result.wall_seconds)}"
    )
    learned = any(finding.predicted for finding in result.correlations)
    predictor = "predictor@12: fitted to 12 rows, judged on the others, mean over splits; "
    yield (
        f"thirds: τ over the pairs of rows in the same third by size; {predictor * learned}"
        "[95 %]: bootstrap intervals; τ − count's: to the best count's on the same rows"
    )


def _table(findings: Sequence[Finding], title: str, *, at_one_size: bool = False) -> Table:
    """The findings of a target, the counts above the line: of all rows, or those of like size."""
    cells: list[dict[str, Cell]] = []
    for finding in findings:
        row: dict[str, Cell] = {"measure": finding.measure}
        if at_one_size:
            for part in finding.within:
                tau, difference = estimates(part)
                size = _SIZES.get(part.count, part.count)
                row[f"τ in {size} thirds [95 %]"] = tau
                row[f"− count's in {size} thirds"] = difference
        else:
            tau, difference = estimates(finding)
            row |= {"n": finding.n, "dropped": finding.dropped}
            row |= {"τ [95 %]": tau, "τ − count's": difference}
        cells.append(row)
    columns = list(dict.fromkeys(name for row in cells for name in row))
    rows = [list(map(row.get, columns)) for row in cells]
    counts = sum(finding.trivial for finding in findings)
    return Table(columns, rows, title, rule=counts if counts < len(rows) else 0)


def _folder_name(s: CorrelationSettings, _options: object) -> str:
    side = f"-{s.image_size}px" if s.image_size else ""
    return f"correlate-{Path(s.reference).stem}{side}-seed{s.seed}"


CORRELATE = Kind(
    command="correlate",
    help="""Tell how well measures rank the architectures of a reference table by accuracy.

    Every measure stands beside the counts, such as parameters and multiply-adds, which are always
    taken. The same command resumes a stopped run; with other measures or targets it measures only
    what is missing.
    """,
    files=RunFiles(
        "correlation", "correlation", (VALUES, CORRELATIONS), figures=CORRELATION_FIGURES
    ),
    settings_type=CorrelationSettings,
    options_type=MeasuringOptions,
    result=CorrelationResult,
    prepare="asvit.runs.algorithms.correlation:prepare",
    execute="asvit.runs.algorithms.correlation:execute",
    name=_folder_name,
    records=(ImagesOfSize, Scored),
    may_change=("reference", *QUERY),
    summary=summary,
    pictures="asvit.report.correlate:pictures",
    details="asvit.report.correlate:details",
    written="report.html, values.csv, correlations.csv, result.json, figures",
    settles=False,
    no_work="nothing to measure: every score is known; --fresh starts over",
)


@with_options(CorrelationSettings, MeasuringOptions, CallOptions, names={"targets": "target"})
def run_correlation(
    reference: str | Path | ReferenceTable,
    *,
    target: str | Sequence[str] | None = None,
    workers: Workers | None = None,
    **given: Any,
) -> CorrelationResult:
    """Tell how well measures rank the architectures of a reference table by accuracy.

    Every row is built and measured as the settings say; the counts, such as parameters and
    multiply-adds, always are. The run folder holds ``run.jsonl`` (every score),
    ``values.csv``, ``correlations.csv``, ``result.json`` and the report. Another query about the
    same table measures only what is missing.

    Args:
        reference: Name of a table, path of a CSV file, or the table itself.
        target: Accuracies to correlate with, or several; ``"all"`` for all of the table; its
            default one where none is named.
        workers: Processes that measure; the result does not depend on them.

    Raises:
        ValueError: If the table is none, a name in it is unknown, or too few rows are left, too.

    Example:
        >>> result = asvit.run_correlation(
        ...     "vitbench101-pit", proxies="naswot", rows=5, image_size=32, repeats=1,
        ...     out="correlation",
        ... )
        >>> result.rows
        5
    """
    if target is not None:
        given["targets"] = target
    run = CORRELATE.make(reference=reference, workers=workers, **given)
    result: CorrelationResult = run.run()
    return result

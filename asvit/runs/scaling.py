"""Scalings: an architecture grown to a budget."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from asvit.core.console import clock, quantity
from asvit.core.run_files import CANDIDATES, SERIES
from asvit.core.settings import setting, settings_class
from asvit.core.signatures import CallOptions, with_options
from asvit.core.summary import Cell, SummaryPart, Table
from asvit.growth.result import Measured, ScaleResult
from asvit.growth.settings import ScaleSettings
from asvit.measuring.latency import Timed
from asvit.runs.folder import RunFiles
from asvit.runs.run_folder import Kind
from asvit.runs.shared import MeasuringOptions, rank_table

if TYPE_CHECKING:
    from asvit.executors import Workers


def summary(result: ScaleResult) -> Iterator[SummaryPart]:
    """The series, and the model nearest to each budget."""
    measures = result.series[0].values
    columns = ["step", "architecture", "width", "params", "multiply-adds", *measures]
    rows: list[list[Cell]] = [
        [row.step, row.architecture, row.width, row.params, row.macs, *row.values.values()]
        for row in result.series
    ]
    yield Table(columns, rows, "The series")
    if any(row.kind == "land" for row in result.series):
        yield "the last step is finer than the published rule, to end near the budget"
    for budget, row in result.nearest():
        side = "below" if budget.gap(row) >= 0 else "above"
        yield (
            f"nearest to {budget}: step {row.step}, {row.architecture} "
            f"({row.params:,} params, {row.macs:,} multiply-adds, "
            f"{abs(budget.gap(row)):.1%} {side})"
        )
    steps = quantity(len(result.series) - 1, "step")
    tried = quantity(len(result.candidates) - 1, "candidate")
    yield f"{steps}, {tried} in {clock(result.wall_seconds)}"
    if result.latency is not None:
        for doubt in result.latency.doubts(result.settings.limits[-1].amount / 1000):
            yield f"warning: {doubt}"
    if not result.reached:
        yield f"not as near as asked: {result.reason}"
    yield from rank_table(result.reliability)


def _folder_name(s: ScaleSettings, _options: object) -> str:
    text = s.architecture.translate(str.maketrans(",|:", ".--"))
    return f"scale-{text}-{s.image_size}px-seed{s.seed}"


@settings_class
class ScaleOptions(MeasuringOptions):
    """Options of a scaling that do not change its result."""

    arch: str | None = setting(
        None,
        "As --arch.",
        metavar="[ARCH]",
        complete="architectures",
        argument=True,
        repeats=False,
    )


SCALE = Kind(
    command="scale",
    help="""Grow an architecture to a budget without training.

    Every step adds one block and some width; the result is the whole series of models. The same
    command resumes a stopped run, or shows the result of a finished one. A larger budget extends
    it.
    """,
    files=RunFiles(
        "scale",
        "scaling",
        (SERIES, CANDIDATES),
        figures=("growth", "sizes", "measures", "clouds"),
    ),
    settings_type=ScaleSettings,
    options_type=ScaleOptions,
    result=ScaleResult,
    prepare="asvit.runs.algorithms.scaling:prepare",
    execute="asvit.runs.algorithms.scaling:execute",
    name=_folder_name,
    records=(Measured, Timed),
    summary=summary,
    pictures="asvit.report.scale:pictures",
    details="asvit.report.scale:details",
    written="report.html, steps.csv, result.json, figures",
    complete=(SERIES, CANDIDATES),
    ends_in="architecture",
)


@with_options(
    *(ScaleSettings, ScaleOptions, CallOptions),
    names={"arch": "architecture", "budgets": "budget"},
)
def run_scaling(
    architecture: str | None = None, *, workers: Workers | None = None, **given: Any
) -> ScaleResult:
    """Grow an architecture to a budget; the same call continues a run that was stopped.

    The run folder holds ``run.jsonl`` (everything measured), ``steps.csv``,
    ``candidates.csv``, ``result.json`` and the report. After a stop at most the network in flight
    is measured again. A larger budget extends a run.

    Args:
        architecture: Text of the architecture to start from; by default what the newest finished
            search in ``runs`` ended in.
        workers: Processes that measure; the result does not depend on them.

    Example:
        >>> result = asvit.run_scaling(
        ...     "8,2,3|4,1,2|4,1,4|4,1,6|32", budget="3M", stop_within=0.1,
        ...     image_size=32, images=2, points=3, repeats=1, out="scaling",
        ... )
        >>> result.series[-1].params <= 3.3e6
        True
    """
    if "budget" in given:
        given["budgets"] = given.pop("budget")
    run = SCALE.make(architecture=architecture, workers=workers, **given)
    result: ScaleResult = run.run()
    return result

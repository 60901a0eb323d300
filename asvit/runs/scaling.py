"""Scalings: an architecture grown to a budget."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asvit.core.console import clock, quantity
from asvit.core.run_files import CANDIDATES, MEASURED, SERIES
from asvit.core.settings import fields_of, setting
from asvit.core.signatures import CallOptions, with_options
from asvit.core.summary import Cell, SummaryPart, Table
from asvit.executors.placement import on_cluster
from asvit.growth.result import ScaleResult
from asvit.growth.settings import ScaleSettings
from asvit.runs.folder import RunFiles
from asvit.runs.measuring_run import MeasuringRun, rank_table
from asvit.runs.run import imported

if TYPE_CHECKING:
    from asvit.executors import Workers


@dataclass(kw_only=True)
class ScaleRun(MeasuringRun[ScaleSettings, ScaleResult, Any]):
    """Grow an architecture to a budget without training.

    Every step adds one block and some width; the result is the whole series of models. The same
    command resumes a stopped run, or shows the result of a finished one. A larger budget extends
    it.
    """

    command = "scale"
    judge = "asvit-sizes"
    files = RunFiles(
        "scale",
        "scaling",
        (SERIES, CANDIDATES),
        MEASURED,
        figures=("growth", "sizes", "measures", "clouds"),
    )
    algorithm = imported("asvit.runs.algorithms.scaling:ScaleAlgorithm")
    pictures = imported("asvit.report.scale:pictures")  # imports matplotlib
    details = imported("asvit.report.scale:details")
    written = "report.html, steps.csv, result.json, figures"
    ends_in = "architecture"

    arch: str | None = setting(
        None,
        "As --arch.",
        metavar="[ARCH]",
        complete="architectures",
        argument=True,
        repeats=False,
    )
    seed_run: Path | None = None  # whose result growth starts from
    classes_of_data: bool = False  # sizes are counted with the classes that the images have

    @property
    def typed_values(self) -> Mapping[str, object]:
        """The budget, and the classes where they need not be those of the data."""
        names = ["budgets"] + ["classes"] * (not self.classes_of_data)
        return {name: getattr(self.settings, name) for name in names}

    def default_name(self) -> str:
        """Named after the architecture, the image size and the seed."""
        s = self.settings
        text = s.architecture.translate(str.maketrans(",|:", ".--"))
        return f"scale-{text}-{s.image_size}px-seed{s.seed}"

    @property
    def title(self) -> str:
        """What is about to be grown, and on what."""
        s = self.settings
        origin = "--arch" if self.seed_run is None else f"the result of {self.seed_run}"
        growth = f"growing {s.architecture} ({origin}) to {s.budgets[-1]}"
        if s.classes != fields_of(ScaleSettings)["classes"].default:
            growth += f" with {s.classes:,} classes"
        return f"{growth}: {s.in_words(on_cluster(s.device, self.workers))}"

    @classmethod
    def summary(cls, result: ScaleResult) -> Iterator[SummaryPart]:
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


@with_options(
    *(ScaleSettings, ScaleRun, CallOptions),
    names={"arch": "architecture", "budgets": "budget"},
)
def run_scaling(
    architecture: str | None = None, *, workers: Workers | None = None, **given: Any
) -> ScaleResult:
    """Grow an architecture to a budget; the same call continues a run that was stopped.

    The run folder holds ``measured.jsonl`` (everything measured), ``steps.csv``,
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
    return ScaleRun.make(architecture=architecture, workers=workers, **given).run()

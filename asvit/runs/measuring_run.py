"""What searches and scalings share: workers that measure, and a table that judges the measures."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from asvit.codec import to_json
from asvit.console import networks, table, with_interval
from asvit.progress import images_told
from asvit.results import Result
from asvit.runs.run import Run
from asvit.settings import MeasuringSettings, setting

if TYPE_CHECKING:
    from rich.console import Console

    from asvit.executors import Workers
    from asvit.reference import ReferenceTable
    from asvit.reference.reliability import Reliability

S = TypeVar("S", bound=MeasuringSettings)
R = TypeVar("R", bound=Result)
J = TypeVar("J")


@dataclass(kw_only=True)
class MeasuringRun(Run[S, R, J]):
    """A run whose measures a reference table can judge.

    Attributes:
        reference: The table, by its name or path.
        workers: Processes that measure; the result does not depend on them.
    """

    reference: str | Path | ReferenceTable | None = setting(
        None,
        "Reference table that tells how far the measures can be trusted, by its name (see asvit "
        "list references) or path: they are correlated with its accuracies in the end.",
        metavar="TABLE",
        complete="asvit.reference:REFERENCES",
        repeats=False,
        listed=False,
    )
    workers: Workers | None = None

    def check(self) -> None:
        """Find the table before the long part."""
        if self.reference is not None:
            from asvit.runs.checks import find_table

            self.reference = find_table(self.reference)

    def run(self) -> R:
        """As the base does, then correlate the measures with the table if there is one."""
        result = super().run()
        if self.reference is None:
            return result
        from asvit.runs.checks import find_table
        from asvit.runs.correlation.measure import row_progress
        from asvit.runs.correlation.reliability import reliability  # scipy

        settings: Any = self.settings
        reference = find_table(self.reference)
        title = (
            f"measuring the {len(reference.architectures)} architectures of {reference.name}: "
            f"{networks(settings.repeats)} each, {settings.image_size} px"
        )
        told = reliability(
            result.folder,
            reference,
            settings,
            workers=self.workers,
            progress=lambda event: self.progress(replace(row_progress(event), title=title)),
            image_progress=images_told(self.progress),
        )
        judged: Any = result
        if to_json(told) != to_json(judged.reliability):  # NaN is not equal to itself
            result = replace(judged, reliability=told)
            result.write()
            self.write_report(result.folder)
        return result


def show_reliability(told: Reliability, screen: Console) -> None:
    """Write on ``screen`` how well the measures of a run rank a table."""
    best = told.best_count
    cells = [
        [
            one.measure,
            one.n,
            one.dropped,
            with_interval(one.tau, *one.tau_interval),
            with_interval(one.difference, *one.difference_interval, sign="+"),
        ]
        for one in (*told.measures, *([best] if best else []))
    ]
    ceiling = told.noise_ceiling
    known_ceiling = "" if ceiling is None else f"; noise ceiling {ceiling:.3f}"
    screen.print()
    screen.print(
        table(
            ["measure", "n", "dropped", "τ [95 %]", "τ − count's"],
            cells,
            title=f"How the measures rank {told.reference}, {told.target}{known_ceiling}",
            left=("measure",),
            rule=len(told.measures),
        )
    )

"""What searches and scalings have in common: workers, and a table that judges the measures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from asvit.core.settings import setting
from asvit.core.summary import Cell, SummaryPart, Table
from asvit.reference.findings import estimates
from asvit.runs.run import J, R, Run, S, imported

if TYPE_CHECKING:
    from asvit.executors import Workers
    from asvit.reference import ReferenceTable
    from asvit.reference.findings import Reliability


@dataclass(kw_only=True)
class MeasuringRun(Run[S, R, J]):
    """A run whose measures a reference table can judge."""

    dry_run = imported("asvit.runs.dry_runs:plan_of_measures")

    reference: str | Path | ReferenceTable | None = setting(
        None,
        "Reference table to correlate the measures with, by its name (see asvit list references) "
        "or path; a search that trains starts from its trainings.",
        metavar="TABLE",
        complete="asvit.reference:REFERENCES",
        repeats=False,
        listed=False,
    )
    workers: Workers | None = None  # the result does not depend on them


def rank_table(reliability: Reliability | None) -> Iterator[SummaryPart]:
    """How well the measures of a run rank a table, if there is one."""
    if reliability is None:
        return
    measures, count = reliability.measures, reliability.best_count
    rows: list[list[Cell]] = [
        [row.measure, row.n, row.dropped, *estimates(row)]
        for row in (*measures, *([] if count is None else [count]))
    ]
    title = f"How the measures rank {reliability.reference}, {reliability.target}"
    if reliability.noise_ceiling is not None:
        title += f"; noise ceiling {reliability.noise_ceiling:.3f}"
    columns = ["measure", "n", "dropped", "τ [95 %]", "τ − count's"]
    yield Table(columns, rows, title, rule=len(measures))
    yield from (f"{row.measure}: {row.reason}" for row in measures if row.reason)
    yield (
        f"{reliability.description}; {reliability.rows} architectures, measured as the run "
        f"measured; {'' if count is None else 'the last row is the best count; '}all of it is in "
        f"{reliability.folder}"
    )

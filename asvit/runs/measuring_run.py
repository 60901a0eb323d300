"""What searches and scalings have in common: workers, and a table that judges the measures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from asvit.core.results import Result
from asvit.core.settings import Settings, setting
from asvit.core.store import Store
from asvit.core.summary import Cell, SummaryPart, Table
from asvit.reference.findings import estimates
from asvit.runs.run import Run

if TYPE_CHECKING:
    from asvit.executors import Workers
    from asvit.reference import ReferenceTable
    from asvit.reference.findings import Reliability

S = TypeVar("S", bound=Settings)
R = TypeVar("R", bound=Result)
J = TypeVar("J", bound=Store[Any])


@dataclass(kw_only=True)
class MeasuringRun(Run[S, R, J]):
    """A run whose measures a reference table can judge."""

    reference: str | Path | ReferenceTable | None = setting(
        None,
        "Reference table that tells how far the measures can be trusted, by its name (see asvit "
        "list references) or path: they are correlated with its accuracies in the end. A search "
        "that trains starts from its trainings.",
        metavar="TABLE",
        complete="asvit.reference:REFERENCES",
        repeats=False,
        listed=False,
    )
    workers: Workers | None = None  # the result does not depend on them


def rank_table(found: Reliability | None) -> Iterator[SummaryPart]:
    """How well the measures of a run rank a table, if there is one."""
    if found is None:
        return
    best = [] if found.best_count is None else [found.best_count]
    rows: list[list[Cell]] = [
        [row.measure, row.n, row.dropped, *estimates(row)] for row in (*found.measures, *best)
    ]
    ceiling = "" if found.noise_ceiling is None else f"; noise ceiling {found.noise_ceiling:.3f}"
    yield Table(
        ["measure", "n", "dropped", "τ [95 %]", "τ − count's"],
        rows,
        f"How the measures rank {found.reference}, {found.target}{ceiling}",
        rule=len(found.measures),
    )
    yield from (f"{row.measure}: {row.reason}" for row in found.measures if row.reason)
    last = "the last row is the best count; " if best else ""
    yield (
        f"{found.description}; {found.rows} architectures, measured as the run measured; {last}"
        f"all of it is in {found.folder}"
    )

"""What searches and scalings have in common: workers, and a table that judges the measures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from asvit.core.console import with_interval
from asvit.core.results import Result
from asvit.core.settings import Settings, setting
from asvit.core.store import Store
from asvit.core.summary import SummaryPart, Table
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


def rank_table(reliability: Reliability | None) -> Iterator[SummaryPart]:
    """How well the measures of a run rank a table, if there is one."""
    if reliability is None:
        return
    count, ceiling = reliability.best_count, reliability.noise_ceiling
    cells = [
        [
            rank.measure,
            rank.n,
            rank.dropped,
            with_interval(rank.tau, *rank.tau_interval),
            with_interval(rank.difference, *rank.difference_interval, sign="+"),
        ]
        for rank in (*reliability.measures, *([] if count is None else [count]))
    ]
    title = f"How the measures rank {reliability.reference}, {reliability.target}"
    yield ""
    yield Table(
        ["measure", "n", "dropped", "τ [95 %]", "τ − count's"],
        cells,
        title=title if ceiling is None else f"{title}; noise ceiling {ceiling:.3f}",
        left=("measure",),
        rule=len(reliability.measures),
    )

"""What searches and scalings have in common: workers, and a table that judges the measures."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from asvit.core.settings import settings_class
from asvit.core.summary import Cell, SummaryPart, Table
from asvit.executors.base import Workers
from asvit.reference.findings import estimates
from asvit.runs.run_folder import RunOptions

if TYPE_CHECKING:
    from asvit.reference.findings import Finding, Reliability


@settings_class
class MeasuringOptions(RunOptions):
    """Options of a run that measures, which do not change its result."""

    workers: Workers | None = None


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
    yield in_words(measures[-1])
    yield (
        f"{reliability.description}; {reliability.rows} architectures, "
        f"{'' if count is None else 'the last row is the best count; '}"
        f"stored scores ({reliability.scores})"
    )


def in_words(rank: Finding) -> str:
    """What the tau of a measure means, in a sentence."""
    if math.isnan(rank.tau):
        return f"{rank.measure} does not rank these architectures."
    share, low, high = (50 * (1 + tau) for tau in (rank.tau, *rank.tau_interval))
    verdict = "" if low > 50 else ", not shown to be better than chance"
    return (
        f"{rank.measure} puts the more accurate of two of these architectures first in about "
        f"{share:.0f} % of pairs ({low:.0f} to {high:.0f}){verdict}."
    )

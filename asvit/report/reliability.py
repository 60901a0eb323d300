"""The part of a search's or a scaling's report that tells how far its measures can be trusted."""

from __future__ import annotations

import math

from asvit.reference.names import parts
from asvit.reference.reliability import Reliability
from asvit.report import html
from asvit.report.figures import label


def trust(told: Reliability | None) -> str:
    """How the measures of a run rank a reference table; empty where none was asked.

    Args:
        told: What the run's result keeps of it.
    """
    if not told:
        return ""
    words = (
        f"How well the run's measures rank the {told.rows} architectures of {told.reference} by "
        f"{told.target} ({told.description}), measured as the run measured. low and high bound "
        "95 % intervals; the difference is to the τ of the best count, the last row. All of it is "
        f"in {told.folder}."
    )
    if told.noise_ceiling is not None:
        words += f" Two training seeds agree with tau {told.noise_ceiling:.2f}."
    best = told.best_count
    shown = [*told.measures, *([best] if best else [])]
    numeric = ["n", "dropped", "τ", "low", "high", "difference", "low ", "high "]
    cells: list[list[html.Cell]] = [
        [
            " + ".join(map(label, parts(one.measure))) + (" (count)" if one is best else ""),
            one.n,
            one.dropped,
            *map(_rounded, (one.tau, *one.tau_interval)),
            *map(_rounded, (one.difference, *one.difference_interval)),
            one.reason,
        ]
        for one in shown
    ]
    failed = {place for place, one in enumerate(shown) if one.reason}
    table = html.table(["measure", *numeric, "reason"], cells, numeric=set(numeric), failed=failed)
    return html.section("How far to trust the measures", html.paragraph(words), html.card(table))


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 3)

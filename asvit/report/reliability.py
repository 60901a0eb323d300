"""The part of a search's or a scaling's report on how far to trust its measures."""

from __future__ import annotations

import math

from asvit.reference.findings import Reliability
from asvit.reference.settings import parts
from asvit.report import html
from asvit.report.figures import label


def trust(found: Reliability | None) -> str:
    """How the measures of a run rank a reference table; empty where none was asked for."""
    if found is None:
        return ""
    words = (
        f"How well the run's measures rank the {found.rows} architectures of {found.reference} by "
        f"{found.target} ({found.description}), measured as the run measured. low and high bound "
        "95 % intervals; the difference is to the τ of the best count, the last row. All of it is "
        f"in {found.folder}."
    )
    if found.noise_ceiling is not None:
        words += f" Two training seeds agree with tau {found.noise_ceiling:.2f}."
    best = found.best_count
    shown = [*found.measures, *([best] if best else [])]
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

"""What the figures of a correlation show, as plain rows; CSV, HTML and tests see the same ones."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from asvit.reference.findings import Finding
from asvit.reference.values import Values


@dataclass(frozen=True)
class TauRow:
    """Kendall's tau of one measure and one target, with its 95 % interval.

    ``trivial`` tells a count, which every other measure has to beat.
    """

    target: str
    measure: str
    trivial: bool
    n: int
    tau: float
    low: float
    high: float


@dataclass(frozen=True)
class PairRow:
    """A measure and an accuracy in per cent of one architecture."""

    target: str
    architecture: str
    value: float
    accuracy: float


def tau_rows(findings: Iterable[Finding]) -> list[TauRow]:
    """Target after target, in each the measures by tau from the best; those without one last."""
    rows = [
        TauRow(
            one.target,
            one.measure,
            one.trivial,
            one.correlation.n,
            one.correlation.tau,
            one.correlation.tau_interval.low,
            one.correlation.tau_interval.high,
        )
        for one in findings
    ]
    targets = list(dict.fromkeys(row.target for row in rows))
    best = {row: math.inf if math.isnan(row.tau) else -row.tau for row in rows}
    return sorted(rows, key=lambda row: (targets.index(row.target), best[row]))


def pair_rows(values: Values, measure: str) -> list[PairRow]:
    """Every architecture that has both a value of ``measure`` and an accuracy."""
    return [
        PairRow(target, text, value, accuracy)
        for target, accuracies in values.accuracies.items()
        for text, value, accuracy in zip(
            values.architectures, values.measures[measure], accuracies, strict=True
        )
        if math.isfinite(value) and math.isfinite(accuracy)
    ]

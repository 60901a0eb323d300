"""The reliability of a run's measures: how well they rank a reference table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from asvit.core.codec import Nullable
from proxies.registry import Better

Interval = tuple[Nullable, Nullable]


@dataclass(frozen=True)
class RankedMeasure:
    """How well one measure ranks the table; NaN for what is not known.

    Attributes:
        measure: Its name, or several joined by ``+`` for the sum of their ranks.
        better: Its direction.
        n: Rows that it ranks.
        dropped: Rows without a value of it.
        tau: Kendall's τ with the accuracies, and its 95 % interval.
        tau_interval: Ends of that interval.
        difference: τ less that of the best count, on the same rows.
        difference_interval: Ends of its 95 % interval.
        reason: Why there is no τ, else empty.
    """

    measure: str
    better: Better
    n: int
    dropped: int
    tau: Nullable
    tau_interval: Interval
    difference: Nullable
    difference_interval: Interval
    reason: str


@dataclass(frozen=True)
class Reliability:
    """How well the measures of a run rank a reference table.

    Attributes:
        reference: Name of the table.
        digest: SHA-256 of its file.
        target: The accuracies.
        description: What they are, in words.
        noise_ceiling: τ between two training seeds; None where it is not known.
        rows: Rows measured.
        folder: Folder of the correlation, inside the run's.
        measures: The run's measures, and the sum of their ranks.
        best_count: The best plain count beside them; None without one.
    """

    reference: str
    digest: str
    target: str
    description: str
    noise_ceiling: float | None
    rows: int
    folder: str
    measures: Sequence[RankedMeasure]
    best_count: RankedMeasure | None

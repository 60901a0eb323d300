"""How well a measure ranks networks of about the same size."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from asvit.reference.ranks import Array, kendall
from asvit.reference.table import LEAST_ROWS


@dataclass(frozen=True)
class Band:
    """Kendall's tau among the rows whose count lies between two values, both included.

    Attributes:
        count: Name of the count.
        low: Smallest value of it in the band.
        high: Largest value of it in the band.
        n: Rows in the band.
        tau: Tau-b of measure and accuracy among them; NaN below 5 rows.
    """

    count: str
    low: float
    high: float
    n: int
    tau: float


def tau_in_band(
    x: ArrayLike, y: ArrayLike, count: ArrayLike, *, name: str, low: float, high: float
) -> Band:
    """Kendall's tau of x and y among the rows with ``low <= count <= high``."""
    of_rows = np.asarray(count, dtype=np.float64)
    inside = (of_rows >= low) & (of_rows <= high)
    n = int(inside.sum())
    left, right = np.asarray(x)[inside], np.asarray(y)[inside]
    return Band(name, low, high, n, kendall(left, right) if n >= LEAST_ROWS else math.nan)


def taus_in_bands(
    x: Array, y: Array, count: Array, *, name: str, bands: int = 3
) -> tuple[Band, ...]:
    """Kendall's tau inside bands of equally many rows, as near as equal counts allow.

    Rows of equal count share a band, so that there may be fewer bands than asked for.
    """
    known = np.isfinite(count)
    if not known.any():
        return ()
    x, y, count = x[known], y[known], count[known]
    edges = np.quantile(count, np.arange(1, bands) / bands)
    place = np.searchsorted(edges, count, side="left")
    return tuple(
        tau_in_band(x, y, count, name=name, low=float(inside.min()), high=float(inside.max()))
        for inside in (count[place == band] for band in np.unique(place))
    )

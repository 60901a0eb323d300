"""Rank correlations, ranks joined, and what ranking by a measure would have missed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from proxies.messages import hint

Array = NDArray[np.float64]
Better = Literal["higher", "lower", "reported"]


def oriented(values: ArrayLike, better: Better) -> Array:
    """The values such that more is better, ``[rows]``; those merely reported as they are.

    Raises:
        ValueError: If ``better`` is no direction.
    """
    if better not in ("higher", "lower", "reported"):
        raise ValueError(f"better={better!r} is no direction; use 'higher', 'lower' or 'reported'")
    given = np.asarray(values, dtype=np.float64)
    return -given if better == "lower" else given


def kendall(x: ArrayLike, y: ArrayLike) -> float:
    """Kendall's tau-b, -1 to 1; NaN where either is the same throughout."""
    left, right = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    return float(stats.kendalltau(left, right).statistic)


def partial_kendall(x: ArrayLike, y: ArrayLike, given: ArrayLike) -> float:
    """Kendall's partial tau of x and y with ``given`` held: what x adds to it.

    NaN where x or y ranks exactly as ``given`` does, or against it.

    References:
        Kendall 1942, "Partial rank correlation", Biometrika 32, doi:10.1093/biomet/32.3-4.277.
    """
    xy, xz, yz = kendall(x, y), kendall(x, given), kendall(y, given)
    left = (1 - xz**2) * (1 - yz**2)
    return (xy - xz * yz) / math.sqrt(left) if left > 1e-12 else math.nan


def top_regret(x: ArrayLike, y: ArrayLike, k: int) -> float:
    """Best accuracy there is minus the best among the k rows ranked highest, in points.

    0 is best. Ties count against the measure. A row whose value has failed is never picked, but
    its accuracy may be the best; NaN if no row has both.

    Args:
        x: The oriented measure, ``[rows]``.
        y: Accuracies, ``[rows]``.
        k: How many may be trained.

    Raises:
        ValueError: If ``k`` is not at least 1.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    values, accuracies = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    ranked = np.isfinite(values) & np.isfinite(accuracies)
    if not ranked.any():
        return math.nan
    order = np.lexsort((accuracies[ranked], -values[ranked]))
    picked = accuracies[ranked][order[:k]]
    return float(np.nanmax(accuracies) - picked.max())


def rank_sum(columns: Mapping[str, ArrayLike], better: Mapping[str, Better]) -> Array:
    """Sum of the ranks of several measures, ``[rows]``; higher is better.

    Equal values share the mean of their ranks. Rows where a measure has failed are NaN and take no
    rank in the others either.

    Args:
        columns: Measure to its values, one per row.
        better: Direction of each measure.

    Raises:
        ValueError: If lengths differ, or a measure has no direction.
    """
    merely = [name for name in columns if better[name] == "reported"]
    if merely:
        raise ValueError(f"{merely[0]} is merely reported; sum ranks of measures with a direction")
    table = np.array([oriented(values, better[name]) for name, values in columns.items()])
    complete = np.isfinite(table).all(axis=0)
    sums = np.full(table.shape[1], math.nan)
    sums[complete] = stats.rankdata(table[:, complete], axis=1).sum(axis=0)
    return sums


def combined(
    name: str, columns: Mapping[str, ArrayLike], better: Mapping[str, Better]
) -> tuple[Array, Better]:
    """The values and the direction of a measure, or of several joined as in ``"a+b"``.

    Raises:
        ValueError: As :func:`rank_sum`, or if a measure is unknown or there twice.
    """
    parts = [part.strip() for part in name.split("+")]
    for part in parts:
        if part not in columns:
            raise ValueError(f"unknown measure {part!r} in {name!r}; {hint(part, columns)}")
        if parts.count(part) > 1:
            raise ValueError(f"{name!r} has {part!r} more than once")
    if len(parts) == 1:
        return np.asarray(columns[parts[0]], dtype=np.float64), better[parts[0]]
    return rank_sum({part: columns[part] for part in parts}, better), "higher"

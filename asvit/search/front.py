"""The architectures worth a look after a search: non-dominated first, then by rank sum."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from asvit.search.rows import TrialRow
from scaling.ranking import Better, rank_sums


def objectives(better: Mapping[str, Better]) -> dict[str, Better]:
    """The measures with a direction, in their order."""
    return {name: way for name, way in better.items() if way != "reported"}


def best_row(rows: Sequence[TrialRow], better: Mapping[str, Better]) -> TrialRow | None:
    """The row with the smallest sum of dense ranks over the objectives; the earliest of equals.

    None if no row has a valid value of every objective.
    """
    valid = _valid(rows, better)
    if not valid:
        return None
    sums = _sums(valid, better)
    return valid[min(range(len(valid)), key=sums.__getitem__)]


def pareto_front(
    rows: Sequence[TrialRow], better: Mapping[str, Better], *, count: int = 10
) -> list[TrialRow]:
    """Up to ``count`` distinct architectures from the front of the objectives.

    Members of the front come first. Where they are too few, those of the front that remains
    without them follow, and so on. Within a front, the smallest sum of dense ranks (over all
    distinct architectures) comes first, and the earlier of equals.

    Args:
        rows: Measured architectures; failed ones are left out.
        better: Direction of each measure. Measures that are merely reported do not count.
        count: Rows to return at most.
    """
    distinct = list({row.architecture: row for row in reversed(_valid(rows, better))}.values())
    distinct.sort(key=lambda row: row.number)
    sums = dict(zip((row.number for row in distinct), _sums(distinct, better), strict=True))
    goals = objectives(better)
    chosen: list[TrialRow] = []
    while distinct and len(chosen) < count:
        points = [[row.values[name] for name in goals] for row in distinct]
        on_front = non_dominated(points, list(goals.values()))
        front = [row for row, on in zip(distinct, on_front, strict=True) if on]
        chosen += sorted(front, key=lambda row: sums[row.number])
        distinct = [row for row, on in zip(distinct, on_front, strict=True) if not on]
    return chosen[:count]


def _valid(rows: Sequence[TrialRow], better: Mapping[str, Better]) -> list[TrialRow]:
    goals = objectives(better)
    return [row for row in rows if all(math.isfinite(row.values[name]) for name in goals)]


def _sums(rows: Sequence[TrialRow], better: Mapping[str, Better]) -> list[int]:
    return rank_sums({name: [row.values[name] for row in rows] for name in better}, better)


def non_dominated(
    points: Sequence[Sequence[float]], better: Sequence[Better]
) -> NDArray[np.bool_]:
    """Which points no other one beats: as good in every measure, and better in one.

    Args:
        points: ``[points, measures]``, finite.
        better: Direction of each measure; one that is merely reported decides nothing.

    Returns:
        ``[points]``.
    """
    sign = [{"higher": -1.0, "lower": 1.0, "reported": 0.0}[way] for way in better]
    costs = np.array(points).reshape(len(points), len(sign)) * sign + 0.0  # lower is better; no -0
    distinct, place = np.unique(costs, axis=0, return_inverse=True)
    best = np.ones(len(distinct), dtype=bool)
    # In the order of the first cost, then of the next: no point beats one that comes before it.
    if len(sign) <= 2:
        best[1:] = distinct[1:, -1] < np.minimum.accumulate(distinct[:-1, -1])
    else:
        for one in range(len(distinct)):
            if best[one]:
                best[one + 1 :] &= (distinct[one + 1 :] < distinct[one]).any(axis=1)
    front: NDArray[np.bool_] = best[place.reshape(-1)]  # numpy 2.0 gives it two dimensions
    return front

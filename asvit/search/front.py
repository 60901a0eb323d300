"""The architectures worth a look after a search: non-dominated first, then by rank sum."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from asvit.search.rows import TrialRow, Trials
from scaling.ranking import Better, Directions, rank_sums

BEST = 10  # architectures worth a look


def objectives(better: Directions) -> dict[str, Better]:
    """The measures with a direction, in their order."""
    return {name: way for name, way in better.items() if way != "reported"}


def best_rows(rows: Trials, better: Directions, *, count: int = BEST) -> list[TrialRow]:
    """Up to ``count`` distinct architectures with the smallest sums of dense ranks, best first.

    None has failed in an objective; of equals the earlier comes first.
    """
    distinct = _distinct(rows, better)
    sums = _sums(distinct, better)
    places = sorted(range(len(distinct)), key=sums.__getitem__)
    return [distinct[place] for place in places[:count]]


def pareto_front(rows: Trials, better: Directions, *, count: int = BEST) -> list[TrialRow]:
    """Up to ``count`` distinct architectures from the front of the objectives.

    Where members of the front are too few, those of the front that remains without them follow.
    Within a front, the smallest sum of dense ranks comes first, and the earlier of equals.
    """
    distinct = _distinct(rows, better)
    sums = dict(zip((row.number for row in distinct), _sums(distinct, better), strict=True))
    goals = objectives(better)
    best: list[TrialRow] = []
    while distinct and len(best) < count:
        points = [[row.values[name] for name in goals] for row in distinct]
        on_front = non_dominated(points, list(goals.values()))
        front = [row for row, on in zip(distinct, on_front, strict=True) if on]
        best += sorted(front, key=lambda row: sums[row.number])
        distinct = [row for row, on in zip(distinct, on_front, strict=True) if not on]
    return best[:count]


def _distinct(rows: Trials, better: Directions) -> list[TrialRow]:
    """The first row of each architecture that has a value of every objective, in order."""
    goals = objectives(better)
    distinct: dict[str, TrialRow] = {}
    for row in rows:
        if all(math.isfinite(row.values[name]) for name in goals):
            distinct.setdefault(row.architecture, row)
    return list(distinct.values())


def _sums(rows: Trials, better: Directions) -> list[int]:
    return rank_sums({name: [row.values[name] for row in rows] for name in better}, better)


def non_dominated(
    points: Sequence[Sequence[float]], better: Sequence[Better]
) -> NDArray[np.bool_]:
    """Which points no other one beats: as good in every measure, and better in one.

    ``[points, measures] -> [points]``, of finite values. A measure that is merely reported decides
    nothing.
    """
    sign = [{"higher": -1.0, "lower": 1.0, "reported": 0.0}[way] for way in better]
    costs = np.array(points).reshape(len(points), len(sign)) * sign + 0.0  # lower is better; no -0
    distinct, place = np.unique(costs, axis=0, return_inverse=True)
    best = np.ones(len(distinct), dtype=bool)
    # In the order of the first cost, then of the next: no point beats one that comes before it.
    if len(sign) <= 2:
        best[1:] = distinct[1:, -1] < np.minimum.accumulate(distinct[:-1, -1])
    else:
        for point in range(len(distinct)):
            if best[point]:
                best[point + 1 :] &= (distinct[point + 1 :] < distinct[point]).any(axis=1)
    front: NDArray[np.bool_] = best[place.reshape(-1)]  # numpy 2.0 gives it two dimensions
    return front

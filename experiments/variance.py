"""What accuracies depend on: shares of their variance, by a model of random effects."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg, stats

from asvit.core.estimates import Interval

Array = NDArray[np.float64]

SEED = "seed"  # name of what causes leave: the seed of a training

_POINTS = 2_000  # at most, of the grid of shares
_NUMBERS = 4_000_000  # of covariances at a time: memory
_CONCENTRATION = 0.5  # of Dirichlet's distribution


@dataclass(frozen=True)
class Component:
    """One cause of variance."""

    share: float  #: of the variance, 0 to 1
    interval: Interval  #: 90 % interval of the share
    deviation: float  #: standard deviation of its effects, in the unit of the values
    levels: int  #: how many there were beside others; of the rest, values
    gain: float  #: by how much the best of so many levels is above their mean, on average


def variance_components(
    values: ArrayLike,
    causes: Mapping[str, Sequence[Hashable]],
    *,
    fixed: Sequence[Hashable] = (),
    rest: str = SEED,
) -> dict[str, Component]:
    """The variance of values by its causes.

    ``values = mean + an effect of the level of each cause + rest``, all effects independent and
    normal. The restricted likelihood weighs every point of a grid of shares; beforehand these are
    Dirichlet's with 1/2 for each. A share is the mean over them, its interval has 5 % on either
    side. So no share is exactly 0, and where rows tell nothing, the intervals are wide. They are
    those of the levels that there are: ``experiments.check_intervals`` has their coverage.

    Args:
        values: ``[rows]``, without NaN.
        causes: Cause -> the level of each row; some rows share a level.
        fixed: A group of each row that has a mean of its own, which has no part in the effects;
            empty for one mean.
        rest: Name of what is left.

    Returns:
        The causes in their order, and the rest. Time grows with rows cubed: 0.05 s for 60 rows.

    Raises:
        ValueError: If the lengths differ, there are too few values, or a cause has a level for
            every row or one for all.

    References:
        Patterson and Thompson 1971, "Recovery of inter-block information when block sizes are
        unequal"; Gelman 2006, "Prior distributions for variance parameters in hierarchical
        models", on grids and few groups.
    """
    y = np.asarray(values, dtype=np.float64)
    groups = fixed or [0] * len(y)
    for name, own in {**causes, "fixed": groups}.items():
        if len(own) != len(y):
            raise ValueError(f"{name} has {len(own)} level(s) for {len(y)} value(s)")
    for name, own in causes.items():
        if not 1 < len(set(own)) < len(y):
            raise ValueError(
                f"{name} has {len(set(own))} level(s) for {len(y)} values; its share can be told "
                "from those of others only with several of some level"
            )
    means = _indicators(groups)
    if len(y) < means.shape[1] + 2:
        raise ValueError(f"{len(y)} values are too few for {means.shape[1]} mean(s)")
    shares = _grid(len(causes) + 1)
    logs, variances = _likelihoods(y, means, list(map(_indicators, causes.values())), shares)
    logs += (_CONCENTRATION - 1) * np.log(shares).sum(1)
    weights = np.exp(logs - logs.max())
    weights /= weights.sum()
    levels = [*(_compared(own, groups) for own in causes.values()), len(y)]
    deviations = np.sqrt((weights * variances) @ shares)
    return {
        name: Component(
            float(weights @ shares[:, i]),
            Interval(*map(float, _quantiles(shares[:, i], weights, (0.05, 0.95)))),
            float(deviations[i]),
            levels[i],
            best_of(float(deviations[i]), levels[i]),
        )
        for i, name in enumerate((*causes, rest))
    }


def best_of(deviation: float, number: int) -> float:
    """How far the largest of so many normal draws is above their mean, on average."""
    if number < 2:
        return 0.0
    grid = np.linspace(-8, 8, 4001)
    density = number * stats.norm.cdf(grid) ** (number - 1) * stats.norm.pdf(grid)
    return deviation * float(np.trapezoid(grid * density, grid))


def _indicators(levels: Sequence[Hashable]) -> Array:
    """``[rows, levels]``: 1 in the column of the level of each row."""
    names = list(dict.fromkeys(levels))
    return np.array([[float(level == name) for name in names] for level in levels])


def _compared(levels: Sequence[Hashable], groups: Sequence[Hashable]) -> int:
    """Levels of a cause beside others in a group: one alone there is that group's own mean."""
    inside: dict[Hashable, set[Hashable]] = {}
    for group, level in zip(groups, levels, strict=True):
        inside.setdefault(group, set()).add(level)
    return len(set[Hashable]().union(*(own for own in inside.values() if len(own) > 1)))


def _grid(parts: int) -> Array:
    """``[points, parts]``: shares that sum to 1, evenly spaced, none of them 0."""
    steps = next(n for n in range(200, 0, -1) if comb(n + parts - 1, parts - 1) <= _POINTS)
    counts = np.array(list(_splits(steps, parts)), dtype=np.float64)
    return (counts + 0.5) / (steps + parts / 2)


def _splits(total: int, parts: int) -> Iterator[tuple[int, ...]]:
    if parts == 1:
        yield (total,)
        return
    for first in range(total + 1):
        yield from ((first, *others) for others in _splits(total - first, parts - 1))


def _likelihoods(
    y: Array, means: Array, effects: Sequence[Array], shares: Array
) -> tuple[Array, Array]:
    """The restricted log-likelihood at each point, and the variance of values that is its best.

    Args:
        y: ``[rows]``.
        means: ``[rows, means]``, 1 for the one that a row has.
        effects: ``[rows, levels]`` of each cause, 1 for the one that a row has.
        shares: ``[points, causes + 1]``.
    """
    contrasts = linalg.null_space(means.T)  # of which no mean is a part: [rows, freedom]
    z = contrasts.T @ y
    own = [contrasts.T @ effect for effect in effects]
    parts = np.stack([*(part @ part.T for part in own), np.eye(len(z))])
    logs, variances = [], []
    chunks = max(1, len(shares) * len(z) ** 2 // _NUMBERS)
    for points in np.array_split(shares, chunks):
        factor = np.linalg.cholesky(np.tensordot(points, parts, 1))
        white = np.linalg.solve(factor, np.broadcast_to(z[:, None], (len(points), len(z), 1)))
        squares = np.maximum((white**2).sum((1, 2)), 1e-12)
        determinants = 2 * np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(1)
        logs.append(-(determinants + len(z) * np.log(squares)) / 2)
        variances.append(squares / len(z))
    return np.concatenate(logs), np.concatenate(variances)


def _quantiles(values: Array, weights: Array, shares: Sequence[float]) -> Array:
    """Quantiles of evenly spaced values with these weights, each of which stands for a cell."""
    centres, cells = np.unique(np.round(values, 9), return_inverse=True)
    half = (centres[1] - centres[0]) / 2
    edges = np.minimum([centres[0] - half, *(centres + half)], 1.0)
    below = np.concatenate([[0.0], np.cumsum(np.bincount(cells, weights))])
    return np.interp(shares, below, edges)

"""What accuracies depend on: shares of their variance, by a model of random effects."""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, stats

from asvit.reference.findings import Interval

Array = NDArray[np.float64]

REST = "training"  # what is left: the seed of a training
_RESAMPLES = 200  # of an interval
_STARTS = (0.1, 1.0)  # standard deviations of all effects over that of the rest


@dataclass(frozen=True)
class Component:
    """One cause of variance."""

    deviation: float  #: standard deviation of its effects, in the unit of the values
    share: float  #: of the variance, 0 to 1
    interval: Interval  #: 90 % interval of the share


def variance_components(
    values: ArrayLike, levels: Mapping[str, Sequence[Hashable]], *, seed: int = 0
) -> dict[str, Component]:
    """The variance of values by its causes.

    ``values = mean + an effect of the level of each cause + rest``, all effects independent and
    normal, fitted by restricted maximum likelihood. Intervals are of a parametric bootstrap.

    Args:
        values: ``[rows]``, without NaN.
        levels: Cause -> the level of each row; some rows share their levels in all causes.
        seed: Of the bootstrap.

    Returns:
        The causes in their order, and :data:`REST`.

    Raises:
        ValueError: If the lengths differ, or a cause has a level for every row or one for all.

    References:
        Patterson and Thompson 1971, "Recovery of inter-block information when block sizes are
        unequal".
    """
    y = np.asarray(values, dtype=np.float64)
    for name, own in levels.items():
        if len(own) != len(y):
            raise ValueError(f"{name} has {len(own)} level(s) for {len(y)} value(s)")
        if not 1 < len(set(own)) < len(y):
            raise ValueError(
                f"{name} has {len(set(own))} level(s) for {len(y)} values; its share can be told "
                "from those of others only with several of some level"
            )
    designs = [_design(own) for own in levels.values()]
    fitted = _fit(y, designs)
    rng = np.random.default_rng(seed)
    drawn = np.array(
        [_shares(_fit(_simulate(fitted, designs, rng), designs)) for _ in range(_RESAMPLES)]
    )
    low, high = np.quantile(drawn, [0.05, 0.95], axis=0)
    return {
        name: Component(float(deviation), float(share), Interval(float(a), float(b)))
        for name, deviation, share, a, b in zip(
            (*levels, REST), fitted, _shares(fitted), low, high, strict=True
        )
    }


def best_of(deviation: float, number: int) -> float:
    """How far the largest of so many normal draws is above their mean, on average."""
    if number < 2:
        return 0.0
    grid = np.linspace(-8, 8, 4001)
    density = number * stats.norm.cdf(grid) ** (number - 1) * stats.norm.pdf(grid)
    return deviation * float(np.trapezoid(grid * density, grid))


def _design(levels: Sequence[Hashable]) -> Array:
    """``[rows, rows]``: 1 where two rows have the same level."""
    places = {level: i for i, level in enumerate(dict.fromkeys(levels))}
    own = np.array([places[level] for level in levels])
    same: Array = (own[:, None] == own).astype(np.float64)
    return same


def _fit(y: Array, designs: Sequence[Array]) -> Array:
    """Standard deviations of the effects of each cause and of the rest, by REML."""

    def deviance(ratios: Array) -> float:
        return _profile(y, designs, ratios)[0]

    fits = [
        optimize.minimize(
            deviance,
            np.full(len(designs), start),
            method="L-BFGS-B",
            bounds=[(0, 1e3)] * len(designs),
        )
        for start in _STARTS
    ]
    best = min(fits, key=lambda fit: float(fit.fun)).x
    rest = math.sqrt(_profile(y, designs, best)[1])
    return np.array([*(best * rest), rest])


def _profile(y: Array, designs: Sequence[Array], ratios: Array) -> tuple[float, float]:
    """Minus twice the restricted log-likelihood, and the variance of the rest.

    ``ratios`` are standard deviations over that of the rest.
    """
    n = len(y)
    covariance = np.eye(n)
    for ratio, same in zip(ratios, designs, strict=True):
        covariance += ratio**2 * same
    factor = np.linalg.cholesky(covariance)
    ones, white = (np.linalg.solve(factor, column) for column in (np.ones(n), y))
    information = float(ones @ ones)
    residual = white - ones * float(ones @ white) / information
    variance = max(float(residual @ residual) / (n - 1), 1e-12)
    logs = 2 * float(np.log(np.diag(factor)).sum()) + math.log(information)
    return logs + (n - 1) * math.log(variance), variance


def _simulate(deviations: Array, designs: Sequence[Array], rng: np.random.Generator) -> Array:
    n = len(designs[0])
    y = deviations[-1] * rng.standard_normal(n)
    for deviation, same in zip(deviations, designs, strict=False):
        first = same.argmax(axis=1)  # the first row of the same level stands for it
        y = y + deviation * rng.standard_normal(n)[first]
    return y


def _shares(deviations: Array) -> Array:
    squares = deviations**2
    shares: Array = squares / squares.sum()
    return shares

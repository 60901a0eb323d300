"""Kendall's tau with bootstrap intervals: how well a measure ranks accuracies."""

import math
from collections.abc import Sequence
from typing import cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from asvit.core.estimates import CONFIDENCE, Estimate
from proxies.registry import Better

Array = NDArray[np.float64]

SAMPLES = 2000  # bootstrap resamples
_BLOCK = 500  # rows that are compared with all others at once: memory


def kendall(x: ArrayLike, y: ArrayLike) -> float:
    """Kendall's tau-b, -1 to 1; NaN where x or y is constant."""
    left, right = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    return float(stats.kendalltau(left, right).statistic)


def resamples(rows: int, samples: int = SAMPLES, *, seed: int = 0) -> Array:
    """How often each row is drawn in each bootstrap resample, ``[1 + samples, rows]``.

    A resample draws ``rows`` rows with replacement; the same seed gives the same resamples. The
    first is the table itself: each row once.
    """
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(rows, np.full(rows, 1 / rows), size=samples)
    return np.vstack([np.ones(rows), drawn])


def estimate(resampled: Array) -> Estimate:
    """The first value, with the percentile interval of the others, ``[1 + samples]``.

    Resamples without a value (NaN) are left out.
    """
    value, known = float(resampled[0]), resampled[1:][~np.isnan(resampled[1:])]
    if math.isnan(value) or not len(known):
        return Estimate(value)
    low, high = np.quantile(known, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Estimate(value, float(low), float(high))


def resampled_tau(x: Array, y: Array, weights: Array, groups: ArrayLike | None = None) -> Array:
    """Kendall's tau-b of every resample, ``[samples]``; NaN where x or y is constant in it.

    With w the number of times that each row was drawn, concordant minus discordant pairs are the
    sum over pairs of w_i w_j sign(x_i - x_j) sign(y_i - y_j); a row drawn twice is tied with
    itself. Time grows with samples times rows squared, 0.05 s for 2000 resamples of 200 rows.

    Args:
        x: ``[rows]``, finite.
        y: The same.
        weights: ``[samples, rows]``; see :func:`resamples`.
        groups: The group of each row, ``[rows]``; only pairs within a group count.
    """
    of_group = np.zeros(len(x)) if groups is None else np.asarray(groups)
    totals = np.zeros((3, len(weights)))  # concordant minus discordant, untied in x, untied in y
    for start in range(0, len(x), _BLOCK):
        block = slice(start, start + _BLOCK)
        within = of_group[:, None] == of_group[block]
        in_x, in_y = signs(x, x[block]) * within, signs(y, y[block]) * within
        for place, pairs in enumerate((in_x * in_y, np.abs(in_x), np.abs(in_y))):
            totals[place] += weighed(pairs, weights, weights[:, block])
    concordant, untied_x, untied_y = totals
    untied = untied_x * untied_y
    taus = np.full(len(weights), np.nan)
    np.divide(concordant, np.sqrt(untied), out=taus, where=untied > 0)
    return taus


def signs(values: Array, others: Array | None = None) -> Array:
    """The sign of ``values[i] - others[j]``, ``[rows, others]``; of all pairs without others."""
    others = values if others is None else others
    # Compare: differences of large values overflow.
    above = values[:, None] > others
    return above.astype(np.float64) - (values[:, None] < others)


def weighed(pairs: Array, weights: Array, others: Array | None = None) -> Array:
    """The sums ``w @ pairs @ v`` for every row w of ``weights`` and v of ``others``."""
    others = weights if others is None else others
    return cast("Array", np.einsum("sr,sr->s", weights @ pairs, others))


def thirds(count: Array) -> NDArray[np.int64]:
    """The third by a count that each row is in, ``[rows]``; equal counts share one."""
    return np.searchsorted(np.quantile(count, [1 / 3, 2 / 3]), count)


def oriented(values: ArrayLike, better: Better) -> Array:
    """Values negated if lower is better, so that higher is better, ``[rows]``."""
    if better not in ("higher", "lower", "reported"):
        raise ValueError(f"better={better!r} is no direction; use 'higher', 'lower' or 'reported'")
    array = np.asarray(values, dtype=np.float64)
    return -array if better == "lower" else array


def rank_sum(columns: Sequence[Array]) -> Array:
    """Sum of the ranks by several oriented measures, ``[rows]``; higher is better.

    Ties share their mean rank. Rows with a failed measure are NaN and are left out of the ranks by
    the other measures, too.
    """
    table = np.array(columns)
    complete = np.isfinite(table).all(axis=0)
    sums = np.full(table.shape[1], math.nan)
    sums[complete] = stats.rankdata(table[:, complete], axis=1).sum(axis=0)
    return sums

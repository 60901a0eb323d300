"""Intervals for statistics of predictions, over resampled rows and resampled splits.

The test rows of different splits overlap, so the spread over splits does not show how the
statistic depends on the sample of rows in the table. A resample therefore draws the rows
of the table with replacement, for all splits alike, and the splits with replacement, too. The
predictions stay those of the original splits.
"""

import math

import numpy as np
from numpy.typing import NDArray

from asvit.reference.findings import NO_INTERVAL, Interval
from asvit.reference.statistics import interval_of, resamples, signs

Array = NDArray[np.float64]


class Resamples:
    """Resamples of the rows of a table and of the splits of these rows.

    Attributes:
        rows: How often each row is drawn, ``[samples, rows]``; the first sample is the table
            itself: each row once.
        splits: The weight of each split, ``[samples, splits]``; equal in the first sample.
    """

    def __init__(self, rows: int, splits: int, *, samples: int = 1000, seed: int = 0) -> None:
        self.rows = np.vstack([np.ones(rows), resamples(rows, samples, seed=seed)])
        of_splits = resamples(splits, samples, seed=seed + 1)
        self.splits = np.vstack([np.ones(splits), of_splits])

    def mean(self, values: Array) -> Array:
        """Mean over the splits of ``[samples, splits]`` in every resample, ``[samples]``.

        Splits with NaN are left out; NaN if all are.
        """
        weights = np.where(np.isnan(values), 0.0, self.splits)
        total = weights.sum(axis=1)
        summed = (weights * np.nan_to_num(values)).sum(axis=1)
        means: Array = np.divide(summed, total, out=np.full(len(total), np.nan), where=total > 0)
        return means

    def estimate(self, values: Array) -> tuple[float, Interval]:
        """Mean over the splits of the table itself, and its percentile interval."""
        resampled = self.mean(values)
        interval = interval_of(resampled[1:])
        if math.isnan(resampled[0]) or math.isnan(interval.low):
            return math.nan, NO_INTERVAL
        return float(resampled[0]), interval


def resampled_spearman(x: Array, y: Array, weights: Array) -> Array:
    """Spearman's rank correlation of every resample, ``[samples]``; NaN where x or y is constant.

    The ranks are those within the resample.
    """
    total = weights.sum(axis=1, keepdims=True)

    def ranks(values: Array) -> Array:
        below = weights @ signs(values).T  # rows below minus rows above
        mean = (weights * below).sum(axis=1, keepdims=True) / np.maximum(total, 1)
        centred: Array = below - mean
        return centred

    in_x, in_y = ranks(x), ranks(y)
    both = (weights * in_x * in_y).sum(axis=1)
    spread = np.sqrt((weights * in_x**2).sum(axis=1) * (weights * in_y**2).sum(axis=1))
    undefined = np.full(len(weights), np.nan)
    correlations: Array = np.divide(both, spread, out=undefined, where=spread > 0)
    return correlations


def resampled_regret(x: Array, y: Array, weights: Array, k: int) -> Array:
    """The best accuracy minus the best among the k rows ranked highest, ``[samples]``.

    Both are of the rows in each resample; 0 is best. Ties in ``x`` count against it. NaN for an
    empty resample.
    """
    order = np.lexsort((y, -x))
    drawn = weights[:, order] > 0
    top = drawn & (drawn.cumsum(axis=1) <= k)
    values = y[order]
    best, reached = (np.where(rows, values, -np.inf).max(axis=1) for rows in (drawn, top))
    valid = drawn.any(axis=1)
    regrets: Array = np.where(valid, best, np.nan) - np.where(valid, reached, np.nan)
    return regrets

"""Intervals for statistics of predictions, over resampled rows and resampled splits.

The test rows of different splits overlap, so the spread over splits says nothing about how the
statistic depends on the rows that the table happens to have. A resample therefore draws the rows
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
        rows: How often each row is drawn, ``[samples, rows]``; the first sample draws each row
            once: the table itself.
        splits: The weight of each split, ``[samples, splits]``; the first sample has all alike.
    """

    def __init__(self, rows: int, splits: int, *, samples: int = 1000, seed: int = 0) -> None:
        drawn = resamples(rows, samples, seed=seed)
        self.rows = np.vstack([np.ones(rows), drawn])
        of_splits = resamples(splits, samples, seed=seed + 1)
        self.splits = np.vstack([np.ones(splits), of_splits])

    def mean(self, values: Array) -> Array:
        """Mean over the splits of ``[samples, splits]`` in every resample, ``[samples]``.

        Splits without a value (NaN) are left out; NaN where no split has one.
        """
        weights = np.where(np.isnan(values), 0.0, self.splits)
        total = weights.sum(axis=1)
        summed = (weights * np.nan_to_num(values)).sum(axis=1)
        found: Array = np.divide(summed, total, out=np.full(len(total), np.nan), where=total > 0)
        return found

    def estimate(self, values: Array) -> tuple[float, Interval]:
        """Mean over the splits of the table itself, and its percentile interval."""
        resampled = self.mean(values)
        interval = interval_of(resampled[1:])
        if math.isnan(resampled[0]) or math.isnan(interval.low):
            return math.nan, NO_INTERVAL
        return float(resampled[0]), interval


def resampled_spearman(x: Array, y: Array, drawn: Array) -> Array:
    """Spearman's rank correlation of every resample, ``[samples]``; NaN where x or y is constant.

    The ranks are those within the resample.
    """
    total = drawn.sum(axis=1, keepdims=True)

    def ranks(values: Array) -> Array:
        below = drawn @ signs(values).T  # rows below minus rows above
        centred: Array = below - (drawn * below).sum(axis=1, keepdims=True) / np.maximum(total, 1)
        return centred

    in_x, in_y = ranks(x), ranks(y)
    both = (drawn * in_x * in_y).sum(axis=1)
    spread = np.sqrt((drawn * in_x**2).sum(axis=1) * (drawn * in_y**2).sum(axis=1))
    found: Array = np.divide(both, spread, out=np.full(len(drawn), np.nan), where=spread > 0)
    return found


def resampled_regret(x: Array, y: Array, drawn: Array, k: int) -> Array:
    """The best accuracy minus the best one among the k rows ranked highest, ``[samples]``.

    Both are of the rows in each resample; 0 is best. Ties in ``x`` count against it. NaN where no
    row is drawn.
    """
    order = np.lexsort((y, -x))
    there = drawn[:, order] > 0
    picked = there & (there.cumsum(axis=1) <= k)
    values = y[order]
    best, reached = (np.where(rows, values, -np.inf).max(axis=1) for rows in (there, picked))
    known = there.any(axis=1)
    found: Array = np.where(known, best, np.nan) - np.where(known, reached, np.nan)
    return found

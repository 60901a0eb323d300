import math

import numpy as np

from asvit.predictor.validation import Resamples

ROWS, SPLITS = 12, 4


def test_first_sample_is_the_table_itself() -> None:
    found = Resamples(ROWS, SPLITS, samples=20, seed=1)
    assert (found.rows[0] == 1).all()
    assert (found.splits[0] == 1).all()
    assert (found.rows.sum(axis=1) == ROWS).all()
    assert (found.splits.sum(axis=1) == SPLITS).all()


def test_mean_leaves_out_splits_without_a_value() -> None:
    found = Resamples(ROWS, 2, samples=3, seed=0)
    values = np.tile([0.5, math.nan], (4, 1))
    known = found.mean(values)
    assert known[0] == 0.5
    assert set(known[~np.isnan(known)]) == {0.5}


def test_interval_of_a_mean_shrinks_with_splits_and_covers_it() -> None:
    rng = np.random.default_rng(0)

    def width(splits: int) -> float:
        found = Resamples(ROWS, splits, seed=0)
        value, interval = found.estimate(np.tile(rng.normal(size=splits), (1001, 1)))
        assert interval.low <= value <= interval.high
        return interval.high - interval.low

    assert width(200) < width(10)


def test_nothing_known_has_no_interval() -> None:
    value, interval = Resamples(ROWS, 2, samples=9).estimate(np.full((10, 2), math.nan))
    assert math.isnan(value)
    assert math.isnan(interval.low)

import math

import numpy as np
import pytest
from scipy import stats

from asvit.reference.resampling import Resamples, resampled_regret, resampled_spearman

ROWS, SPLITS = 12, 4


def drawn_rows(weights: np.ndarray) -> np.ndarray:
    return np.repeat(np.arange(len(weights)), weights.astype(int))


@pytest.fixture
def columns() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 8, ROWS).astype(float)  # with ties
    return x, x + rng.normal(size=ROWS) * 3


def test_first_sample_is_the_table_itself() -> None:
    found = Resamples(ROWS, SPLITS, samples=20, seed=1)
    assert (found.rows[0] == 1).all()
    assert (found.splits[0] == 1).all()
    assert (found.rows.sum(axis=1) == ROWS).all()
    assert (found.splits.sum(axis=1) == SPLITS).all()


def test_spearman_of_a_resample_is_that_of_the_rows_drawn(columns: tuple) -> None:
    x, y = columns
    weights = Resamples(ROWS, 1, samples=5, seed=2).rows
    expected = [stats.spearmanr(x[rows := drawn_rows(w)], y[rows]).statistic for w in weights]
    assert resampled_spearman(x, y, weights) == pytest.approx(np.array(expected))


@pytest.mark.parametrize("k", [1, 3, 50])
def test_regret_of_a_resample_is_that_of_the_rows_drawn(columns: tuple, k: int) -> None:
    x, y = columns
    weights = Resamples(ROWS, 1, samples=5, seed=3).rows
    rows = [[y[row] for row in np.lexsort((y, -x)) if w[row]] for w in weights]  # by rank
    expected = [max(of) - max(of[:k]) for of in rows]
    assert resampled_regret(x, y, weights, k) == pytest.approx(np.array(expected))


def test_a_resample_without_rows_has_no_statistic(columns: tuple) -> None:
    nothing = np.zeros((1, ROWS))
    assert math.isnan(resampled_spearman(*columns, nothing)[0])
    assert math.isnan(resampled_regret(*columns, nothing, 1)[0])


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

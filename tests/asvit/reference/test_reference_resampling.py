"""Tau over many resamples against scipy's, one at a time."""

import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from asvit.reference.resampling import resampled_kendall, resamples


@given(st.integers(2, 15), st.integers(0, 2**32 - 1), st.sampled_from([2, 4, 100]))
def test_every_resample_is_scipy_s_tau(rows, seed, distinct):
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, distinct, (2, rows)).astype(float)
    drawn = resamples(rows, 8, seed=seed)
    for tau, times in zip(resampled_kendall(x, y, drawn), drawn.astype(int), strict=True):
        alone = stats.kendalltau(np.repeat(x, times), np.repeat(y, times)).statistic
        assert tau == pytest.approx(alone, nan_ok=True, abs=1e-12)


def test_a_resample_draws_as_many_rows_as_there_are():
    drawn = resamples(7, 500, seed=3)
    assert drawn.shape == (500, 7)
    assert (drawn.sum(axis=1) == 7).all()
    assert drawn.mean(axis=0) == pytest.approx(np.ones(7), abs=0.15)
    np.testing.assert_array_equal(drawn, resamples(7, 500, seed=3))
    assert not np.array_equal(drawn, resamples(7, 500, seed=4))


def test_numbers_far_apart():
    x = np.array([-1.7e308, 1.7e308, 0, 5e-324])
    once = np.ones((1, 4))
    assert resampled_kendall(x, x, once) == pytest.approx([1])
    assert resampled_kendall(x, -x, once) == pytest.approx([-1])


def test_a_resample_of_one_row_over_and_over_ranks_nothing():
    drawn = np.array([[4.0, 0, 0, 0], [2, 2, 0, 0]])
    taus = resampled_kendall(np.arange(4.0), np.arange(4.0), drawn)
    assert math.isnan(taus[0])
    assert taus[1] == 1


def test_two_thousand_resamples_of_two_hundred_rows_are_quick():
    x, y = np.random.default_rng(0).normal(size=(2, 200))
    started = time.process_time()
    resampled_kendall(x, y, resamples(200, 2000, seed=0))
    assert time.process_time() - started < 2

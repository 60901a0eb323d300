"""Kendall's tau of a table and of its resamples."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from asvit.core.estimates import Estimate
from asvit.statistics import ranks
from asvit.statistics.ranks import (
    estimate,
    oriented,
    rank_sum,
    resampled_tau,
    resamples,
)


@given(st.integers(2, 15), st.integers(0, 2**32 - 1), st.sampled_from([2, 4, 100]))
def test_every_resample_is_scipy_s_tau(rows, seed, distinct):
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, distinct, (2, rows)).astype(float)
    drawn = resamples(rows, 8, seed=seed)
    for tau, times in zip(resampled_tau(x, y, drawn), drawn.astype(int), strict=True):
        alone = stats.kendalltau(np.repeat(x, times), np.repeat(y, times)).statistic
        assert tau == pytest.approx(alone, nan_ok=True, abs=1e-12)


@given(st.integers(2, 30), st.integers(0, 2**32 - 1), st.integers(1, 4))
def test_groups_count_the_pairs_inside_by_hand(rows, seed, of):
    rng = np.random.default_rng(seed)
    x, y, groups = rng.integers(0, 5, (3, rows)).astype(float)
    groups %= of
    pairs = [(i, j) for i, j in itertools.combinations(range(rows), 2) if groups[i] == groups[j]]
    signs = [(np.sign(x[i] - x[j]), np.sign(y[i] - y[j])) for i, j in pairs]
    untied = math.sqrt(sum(a != 0 for a, _ in signs) * sum(b != 0 for _, b in signs))
    expected = sum(a * b for a, b in signs) / untied if untied else math.nan
    with pytest.MonkeyPatch.context() as patch:
        for block in (500, 7):
            patch.setattr(ranks, "_BLOCK", block)
            (tau,) = resampled_tau(x, y, np.ones((1, rows)), groups)
            assert tau == pytest.approx(expected, nan_ok=True)


def test_an_estimate_is_the_first_value_with_the_percentiles_of_the_others():
    found = estimate(np.array([0.5, *np.linspace(0, 1, 1001), math.nan]))
    assert found == Estimate(0.5, pytest.approx(0.025), pytest.approx(0.975))
    assert math.isnan(estimate(np.array([0.5, math.nan])).low)
    nothing = estimate(np.array([math.nan, 0.1, 0.2]))
    assert np.isnan([nothing.value, *nothing.interval]).all()


def test_rank_sums_by_hand():
    # 1, 2.5, 2.5, 4; lower is better: 1, 2, 3.5, 3.5
    sums = rank_sum([np.array([1, 2, 2, 9]), oriented([5, 4, 3, 3], "lower")])
    assert list(sums) == [2, 4.5, 6, 7.5]
    failed = rank_sum([np.array([1, math.nan, 3]), np.array([1, 9, 5])])
    assert failed == pytest.approx([2, math.nan, 4], nan_ok=True)
    assert np.isnan(rank_sum([np.array([math.nan]), np.array([1.0])])).all()

"""Rank statistics: tau, its resamples and bands, sums of ranks, regret."""

import itertools
import math
import time

import numpy as np
import pytest
from asvit.reference.ranks import (
    Band,
    combined,
    kendall,
    oriented,
    partial_kendall,
    rank_sum,
    resampled_kendall,
    resamples,
    tau_in_band,
    taus_in_bands,
    top_regret,
)
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from asvit.reference import load_reference

# Few distinct values, so that ties are common, and whole, so that maps of them are exact.
columns = st.lists(st.integers(-6, 6), min_size=3, max_size=12)


def by_pairs(x, y):
    """Kendall's tau-b by its definition."""
    signs = [
        (np.sign(x[i] - x[j]), np.sign(y[i] - y[j]))
        for i, j in itertools.combinations(range(len(x)), 2)
    ]
    agreeing = sum(a * b for a, b in signs)
    untied = math.sqrt(sum(a * a for a, _ in signs) * sum(b * b for _, b in signs))
    return agreeing / untied if untied else math.nan


@st.composite
def pairs(draw):
    x = draw(columns)
    return x, draw(st.lists(st.integers(-6, 6), min_size=len(x), max_size=len(x)))


@given(pairs())
def test_kendall_by_its_definition(pair):
    assert kendall(*pair) == pytest.approx(by_pairs(*pair), nan_ok=True, abs=1e-12)


def test_kendall_by_hand():
    assert kendall([1, 2, 3, 4], [1, 2, 4, 3]) == pytest.approx(4 / 6)
    # one of six pairs is tied in x, the others agree
    assert kendall([1, 1, 2, 3], [1, 2, 3, 4]) == pytest.approx(5 / math.sqrt(5 * 6))
    assert math.isnan(kendall([1, 1, 1], [1, 2, 3]))


def test_partial_tau_by_hand():
    x, y, z = [1, 2, 3, 4], [2, 1, 4, 3], [1, 2, 4, 3]
    xy, xz, yz = 2 / 6, 4 / 6, 4 / 6
    expected = (xy - xz * yz) / math.sqrt((1 - xz**2) * (1 - yz**2))
    assert expected == pytest.approx(-1 / 5)
    assert partial_kendall(x, y, z) == pytest.approx(expected)


@given(columns)
def test_nothing_is_left_of_what_is_given(x):
    y = list(range(len(x)))
    assert math.isnan(partial_kendall(y, x, y))
    assert math.isnan(partial_kendall(y, x, [-3 * value for value in y]))


def test_directions():
    assert list(oriented([1, 2], "higher")) == [1, 2]
    assert list(oriented([1, 2], "lower")) == [-1, -2]
    assert list(oriented([1, 2], "reported")) == [1, 2]
    with pytest.raises(ValueError, match="better='down' is no direction; use 'higher', 'lower'"):
        oriented([1, 2], "down")


def test_regret_by_hand():
    accuracies = [70, 80, 75, 60]
    assert top_regret([4, 1, 3, 2], accuracies, 1) == 10
    assert top_regret([4, 1, 3, 2], accuracies, 2) == 5
    assert top_regret([4, 1, 3, 2], accuracies, 4) == 0
    assert top_regret([4, 1, 3, 2], accuracies, 9) == 0


def test_ties_count_against_a_measure():
    assert top_regret([1, 1, 1], [70, 80, 75], 1) == 10
    assert top_regret([1, 1, 1], [70, 80, 75], 2) == 5


def test_a_row_that_failed_is_not_picked_but_may_be_the_best():
    assert top_regret([math.nan, 2, 1], [90, 70, 80], 1) == 20
    assert top_regret([3, 2, 1], [math.nan, 70, 80], 1) == 10
    assert math.isnan(top_regret([math.nan, 1], [1, math.nan], 1))
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        top_regret([1], [1], 0)


@given(pairs(), st.integers(1, 12), st.randoms(use_true_random=False))
def test_regret_is_a_loss_that_falls_with_k(pair, k, random):
    x, y = pair
    regret = top_regret(x, y, k)
    assert regret >= top_regret(x, y, k + 1) >= 0
    assert top_regret(y, y, k) == 0
    order = random.sample(range(len(x)), len(x))
    assert top_regret([x[i] for i in order], [y[i] for i in order], k) == regret


def test_rank_sums_by_hand():
    sums = rank_sum({"a": [1, 2, 2, 9], "b": [5, 4, 3, 3]}, better={"a": "higher", "b": "lower"})
    # a: 1, 2.5, 2.5, 4; b, lower is better: 1, 2, 3.5, 3.5
    assert list(sums) == [2, 4.5, 6, 7.5]


def test_a_failure_takes_no_rank():
    sums = rank_sum({"a": [1, math.nan, 3], "b": [1, 9, 5]}, {"a": "higher", "b": "higher"})
    assert list(sums[[0, 2]]) == [2, 4]
    assert math.isnan(sums[1])
    nothing = rank_sum({"a": [math.nan], "b": [1]}, {"a": "higher", "b": "higher"})
    assert math.isnan(nothing[0])


@given(pairs())
def test_rank_sums_see_ranks_only(pair):
    better = {"a": "higher", "b": "lower"}
    plain = rank_sum(dict(zip("ab", pair, strict=True)), better)
    bent = rank_sum({"a": [x**3 for x in pair[0]], "b": [2.0**y for y in pair[1]]}, better)
    np.testing.assert_array_equal(plain, bent)


def test_measures_joined_by_name():
    columns = {"a": [1.0, 2.0], "b": [1.0, 2.0], "c": [1.0, 2.0]}
    better = {"a": "higher", "b": "lower", "c": "reported"}
    values, direction = combined("b", columns, better)
    assert (list(values), direction) == ([1, 2], "lower")
    values, direction = combined("a + b", columns, better)
    assert (list(values), direction) == ([3, 3], "higher")
    with pytest.raises(ValueError, match="unknown measure 'd' in 'a\\+d'; use one of a, b, c"):
        combined("a+d", columns, better)
    with pytest.raises(ValueError, match="'a\\+a' has 'a' more than once"):
        combined("a+a", columns, better)
    with pytest.raises(ValueError, match="c is merely reported; sum ranks of measures with a"):
        combined("a+c", columns, better)


def test_bands_by_hand():
    count = np.arange(10.0)
    x, y = count.copy(), count.copy()
    y[5:] = y[5:][::-1]
    bands = taus_in_bands(x, y, count, name="params", bands=2)
    assert bands == (
        Band("params", 0, 4, 5, pytest.approx(1)),
        Band("params", 5, 9, 5, pytest.approx(-1)),
    )


def test_few_rows_have_no_tau():
    x = np.arange(4.0)
    band = tau_in_band(x, x, x, name="macs", low=0, high=9)
    assert (band.n, band.low, band.high) == (4, 0, 9)
    assert math.isnan(band.tau)


def test_both_ends_are_inside():
    x = np.arange(9.0)
    band = tau_in_band(x, -x, x, name="macs", low=2, high=6)
    assert band == Band("macs", 2, 6, 5, pytest.approx(-1))


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30), st.integers(1, 5))
def test_every_row_is_in_one_band_and_equal_counts_in_the_same(counts, bands):
    count = np.array(counts, dtype=float)
    found = taus_in_bands(count, count, count, name="params", bands=bands)
    assert 1 <= len(found) <= bands
    assert sum(band.n for band in found) == len(count)
    for before, after in itertools.pairwise(found):
        assert before.high < after.low


def test_rows_without_a_count_are_in_none():
    count = np.array([1, 2, math.nan, 3])
    assert sum(band.n for band in taus_in_bands(count, count, count, name="macs")) == 3
    assert taus_in_bands(count[2:3], count[2:3], count[2:3], name="macs") == ()


def test_parameters_rank_models_of_about_the_same_size_badly():
    table = load_reference("timm-in1k")
    top1 = table.accuracies["top1"]
    band = tau_in_band(table.params, top1, table.params, name="params", low=15e6, high=35e6)
    assert band.n == 56
    assert band.tau == pytest.approx(0.28, abs=0.005)


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

"""Rank correlations, sums of ranks and regret."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asvit.reference.ranks import (
    combined,
    kendall,
    oriented,
    partial_kendall,
    rank_sum,
    top_regret,
)

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

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling.ranking import dense_ranks, rank_sums

NUMBERS = st.lists(st.integers(-5, 5).map(float) | st.just(math.inf), max_size=20)


def test_equal_values_share_a_rank_and_failures_come_last() -> None:
    values = [3.0, 1.0, 3.0, math.nan, 2.0, math.nan]
    assert dense_ranks(values, better="higher") == [1, 3, 1, 4, 2, 4]
    assert dense_ranks(values, better="lower") == [3, 1, 3, 4, 2, 4]


def test_all_failed_share_the_first_rank() -> None:
    assert dense_ranks([math.nan, math.nan], better="lower") == [1, 1]


@given(NUMBERS)
def test_ranks_order_as_the_values_do(values: list[float]) -> None:
    ranks = dense_ranks(values, better="lower")
    assert sorted(set(ranks)) == list(range(1, len(set(values)) + 1))
    for a, rank_a in zip(values, ranks, strict=True):
        for b, rank_b in zip(values, ranks, strict=True):
            assert (a < b) == (rank_a < rank_b)


@given(NUMBERS)
def test_higher_is_lower_of_the_negated(values: list[float]) -> None:
    negated = [-v for v in values]
    assert dense_ranks(values, better="higher") == dense_ranks(negated, better="lower")


def test_rank_sums_leave_out_what_is_only_reported() -> None:
    columns = {"length": [1.0, 2.0], "kappa": [5.0, 4.0], "curvature": [0.0, 9.0]}
    sums = rank_sums(columns, {"length": "higher", "kappa": "lower", "curvature": "reported"})
    assert sums == [4, 2]


def test_a_reported_measure_cannot_be_ranked() -> None:
    with pytest.raises(ValueError, match="better='reported'"):
        dense_ranks([1.0], better="reported")


def test_columns_of_unequal_length_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        rank_sums({"a": [1.0], "b": [1.0, 2.0]}, {"a": "lower", "b": "lower"})

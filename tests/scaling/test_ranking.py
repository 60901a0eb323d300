import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling.ranking import best_places, dense_ranks, rank_sums, relative_range

NUMBERS = st.lists(st.integers(-5, 5).map(float) | st.just(math.inf), max_size=20)


def test_equal_values_share_a_rank_and_failures_come_last() -> None:
    values = [3.0, 1.0, 3.0, math.nan, 2.0, math.nan]
    assert dense_ranks(values, better="higher") == [1, 3, 1, 4, 2, 4]
    assert dense_ranks(values, better="lower") == [3, 1, 3, 4, 2, 4]


@given(NUMBERS)
def test_ranks_order_as_the_values_do(values: list[float]) -> None:
    ranks = dense_ranks(values, better="lower")
    assert sorted(set(ranks)) == list(range(1, len(set(values)) + 1))
    for a, rank_a in zip(values, ranks, strict=True):
        for b, rank_b in zip(values, ranks, strict=True):
            assert (a < b) == (rank_a < rank_b)


def test_rank_sums_leave_out_what_is_only_reported() -> None:
    columns = {"length": [1.0, 2.0], "kappa": [5.0, 4.0], "curvature": [0.0, 9.0]}
    sums = rank_sums(columns, {"length": "higher", "kappa": "lower", "curvature": "reported"})
    assert sums == [4, 2]


def test_a_reported_measure_cannot_be_ranked() -> None:
    with pytest.raises(ValueError, match="better='reported'"):
        dense_ranks([1.0], better="reported")


BETTER = {"length": "higher", "kappa": "lower"}


@pytest.mark.parametrize(
    ("length", "kappa", "places"),
    [
        # Ranks 1+2, 2+1, 3+3: a tie of two. Ranges: length (3-1)/3 = 0.67, kappa (9-4)/9 = 0.56;
        # length decides, and higher is better in it.
        ([3.0, 2.0, 1.0], [5.0, 4.0, 9.0], [0]),
        # The same ranks; kappa's range (90-4)/90 = 0.96 is larger: the lower kappa wins. Taking
        # the smaller value of length, as the released code does of either, would be wrong above.
        ([3.0, 2.0, 1.0], [5.0, 4.0, 90.0], [1]),
        # Three are tied, 1+3, 2+2, 3+1; length's range 0.75 is above kappa's 0.5. Looking at two
        # candidates only would miss the third when the order is turned round.
        ([4.0, 2.0, 1.0], [8.0, 6.0, 4.0], [0]),
        ([1.0, 2.0, 4.0], [4.0, 6.0, 8.0], [2]),
        # No tie: 1+1.
        ([1.0, 5.0, 2.0], [3.0, 2.0, 9.0], [1]),
        # Dense ranks: equal lengths share rank 1, so kappa alone orders them.
        ([7.0, 7.0, 7.0], [3.0, 2.0, 2.0], [1, 2]),
        # A failure ranks behind the worst valid value: 1+3, 2+1, 3+2 with NaN last in kappa.
        ([9.0, 5.0, 1.0], [math.nan, 4.0, 6.0], [1]),
        ([math.nan, math.nan], [3.0, 2.0], [1]),
        ([1.0, 1.0], [math.nan, math.nan], [0, 1]),
        # One candidate.
        ([1.0], [1.0], [0]),
    ],
)
def test_the_best_by_hand(length: list[float], kappa: list[float], places: list[int]) -> None:
    assert best_places({"length": length, "kappa": kappa}, BETTER) == places


VALUES = st.integers(-3, 3).map(float) | st.just(math.nan)


@given(st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=16))
def test_the_winner_never_has_a_larger_rank_sum(pairs: list[tuple[float, float]]) -> None:
    columns = {"length": [a for a, _ in pairs], "kappa": [b for _, b in pairs]}
    sums = rank_sums(columns, BETTER)
    places = best_places(columns, BETTER)
    assert places
    assert all(sums[place] == min(sums) for place in places)
    # Those left over are equal in every measure.
    assert len({str(pairs[place]) for place in places}) == 1
    # Of the tied ones, none is better in the measure that decides.
    widest = max(columns, key=lambda name: relative_range(columns[name]))
    ranks = dense_ranks(columns[widest], better=BETTER[widest])
    tied = [place for place, total in enumerate(sums) if total == min(sums)]
    assert ranks[places[0]] == min(ranks[place] for place in tied)


def test_the_relative_range() -> None:
    assert relative_range([2.0, 5.0, math.nan]) == pytest.approx(0.6)
    assert relative_range([-4.0, -1.0]) == pytest.approx(0.75)
    assert relative_range([0.0, 0.0]) == relative_range([math.nan]) == relative_range([]) == 0.0

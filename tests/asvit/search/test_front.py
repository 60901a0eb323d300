import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asvit.search import TrialRow, best_row, pareto_front
from asvit.search.front import non_dominated
from scaling.ranking import Better

BETTER = {"length": "higher", "kappa": "lower", "curvature": "reported"}


def make_rows(pairs: list[tuple[float, float]], names: str | None = None) -> list[TrialRow]:
    return [
        TrialRow(
            number=place,
            architecture=str(place) if names is None else names[place],
            params=1,
            macs=1,
            values={"length": length, "kappa": kappa, "curvature": math.nan},
            reward=0.0,
            entropy=0.0,
            state="complete",
            reason="",
        )
        for place, (length, kappa) in enumerate(pairs)
    ]


def numbers(rows: list[TrialRow]) -> list[int]:
    return [row.number for row in rows]


def test_the_front_comes_first_then_the_next_one() -> None:
    rows = make_rows([(1, 1), (3, 3), (2, 9), (0, 5), (2, 2)])
    # (1,1), (2,2), (3,3) are not dominated; (2,9) and (0,5) are one front behind
    assert set(numbers(pareto_front(rows, BETTER, count=3))) == {0, 1, 4}
    assert set(numbers(pareto_front(rows, BETTER))[3:]) == {2, 3}


def test_within_a_front_the_smallest_rank_sum_comes_first() -> None:
    # ranks (length, kappa): 0: 3+1, 1: 1+4, 2: 2+2, and 3 is dominated with 4+3
    rows = make_rows([(2, 1), (9, 9), (5, 2), (1, 5)])
    assert numbers(pareto_front(rows, BETTER)) == [0, 2, 1, 3]


def test_an_architecture_drawn_twice_is_there_once() -> None:
    rows = make_rows([(1, 1), (2, 2), (1, 1)], names="aba")
    assert [row.architecture for row in pareto_front(rows, BETTER)].count("a") == 1
    assert 0 in numbers(pareto_front(rows, BETTER))


def test_failures_are_left_out() -> None:
    rows = make_rows([(math.nan, 1), (1, math.nan), (1, 1)])
    assert numbers(pareto_front(rows, BETTER)) == [2]
    best = best_row(rows, BETTER)
    assert best is not None
    assert best.number == 2
    assert best_row(rows[:2], BETTER) is None
    assert pareto_front([], BETTER) == []


def test_the_earliest_of_equals_is_best() -> None:
    best = best_row(make_rows([(1, 2), (2, 1), (2, 1)]), BETTER)
    assert best is not None
    assert best.number == 1


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=25))
def test_no_row_of_the_front_is_dominated(pairs: list[tuple[int, int]]) -> None:
    rows = make_rows([(float(a), float(b)) for a, b in pairs])

    def dominated(row: TrialRow) -> bool:
        a, b = row.values["length"], row.values["kappa"]
        return any(
            o.values["length"] >= a
            and o.values["kappa"] <= b
            and (o.values["length"], o.values["kappa"]) != (a, b)
            for o in rows
        )

    whole = [row.number for row in rows if not dominated(row)]
    chosen = numbers(pareto_front(rows, BETTER, count=len(rows)))
    assert set(chosen[: len(whole)]) == set(whole)
    assert sorted(chosen) == list(range(len(rows)))


def test_ten_rows_unless_told_otherwise() -> None:
    rows = make_rows([(float(i), float(i)) for i in range(30)])
    assert len(pareto_front(rows, BETTER)) == 10
    with pytest.raises(KeyError):
        pareto_front(rows, {"width": "higher"})


@pytest.mark.parametrize(
    "better", list(itertools.product(["higher", "lower", "reported"], repeat=2))
)
@given(points=st.lists(st.tuples(*[st.integers(0, 6).map(float)] * 2), max_size=30))
def test_non_dominated_is_what_nothing_beats(
    better: tuple[Better, Better], points: list[tuple[float, float]]
) -> None:
    sign = [{"lower": 1, "higher": -1, "reported": 0}[way] for way in better]
    costs = [(sign[0] * x, sign[1] * y) for x, y in points]
    expected = [
        not any(c <= a and d <= b and (c, d) != (a, b) for c, d in costs) for a, b in costs
    ]
    assert non_dominated(points, better).tolist() == expected

import itertools
import math

import pytest
from fake_search import make_row
from hypothesis import given
from hypothesis import strategies as st

from asvit.search import TrialRow
from asvit.search.conclusion import picked
from asvit.search.result import Finalist
from asvit.search.rows import best_rows, non_dominated
from scaling.ranking import Better, rank_sums

BETTER: dict[str, Better] = {"length": "higher", "kappa": "lower", "curvature": "reported"}
VALUES = st.sampled_from([*map(float, range(6)), math.nan])


def make_rows(*pairs: tuple[float, float], names: str = "") -> list[TrialRow]:
    """Rows of these lengths and condition numbers."""
    values = [{"length": a, "kappa": b, "curvature": math.nan} for a, b in pairs]
    return [
        make_row(place, values=of, architecture=names[place] if names else str(place))
        for place, of in enumerate(values)
    ]


def numbers(rows: list[TrialRow]) -> list[int]:
    return [row.number for row in rows]


@given(st.lists(st.tuples(VALUES, VALUES), max_size=20))
def test_the_best_have_the_least_rank_sums_the_front_before(
    values: list[tuple[float, float]],
) -> None:
    rows = [row for row in make_rows(*values) if not math.isnan(sum(row_values(row)))]
    columns = {name: [row.values[name] for row in rows] for name in BETTER}
    sums = dict(zip(numbers(rows), rank_sums(columns, BETTER), strict=True))
    best = numbers(best_rows(make_rows(*values), BETTER, count=1))
    assert best == sorted(numbers(rows), key=lambda n: (sums[n], n))[:1]
    on_front = {row.number for row in rows if not any(beats(other, row) for other in rows)}
    expected = sorted(numbers(rows), key=lambda n: (n not in on_front, sums[n], n))
    found = best_rows(make_rows(*values), BETTER, count=len(values), front=True)
    assert numbers(found) == expected


def row_values(row: TrialRow) -> tuple[float, float]:
    return row.values["length"], row.values["kappa"]


def beats(one: TrialRow, other: TrialRow) -> bool:
    (a, b), (c, d) = row_values(one), row_values(other)
    return a >= c and b <= d and (a, b) != (c, d)


def finalist(name: str, values: tuple[float, float], *again: float) -> Finalist:
    both = [dict(zip(("length", "kappa"), of, strict=True)) for of in (values, again) if of]
    return Finalist(name, 0, False, 1, 1, both[0], both[1] if again else {}, "")


def test_what_a_search_hands_on_is_the_best_measured_again() -> None:
    lucky, steady = finalist("a", (9, 1), 4, 5), finalist("b", (5, 3), 5, 3)
    failed = finalist("c", (9, 1), math.nan, 1)
    assert picked([lucky, steady], BETTER, "measured") is steady
    assert picked([lucky, steady], BETTER, "policy") is lucky
    assert picked([failed, lucky], BETTER, "measured") is lucky
    assert picked([failed], BETTER, "measured") is failed
    assert picked([lucky, finalist("d", (5, 3), 4, 5)], BETTER, "measured") is lucky
    # Nothing was measured again: the values of the search decide.
    only = [finalist("e", (5, 3)), finalist("f", (9, 1))]
    assert picked(only, BETTER, "measured") is only[1]


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

import math
from pathlib import Path

import pytest
from fake_search import make_row
from hypothesis import given
from hypothesis import strategies as st

from asvit.search import TrialRow, read_trials, write_trials
from asvit.search.conclusion import picked
from asvit.search.result import Finalist
from asvit.search.rows import best_rows
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
    # Each is the best in one measure: of equal sums the first, whichever values it has.
    equal = [finalist("g", (9, 1), 9, 4), finalist("h", (9, 1), 5, 3)]
    assert picked(equal, BETTER, "measured") is equal[0]
    assert picked(equal[::-1], BETTER, "measured") is equal[1]
    # Nothing was measured again: the values of the search decide.
    only = [finalist("e", (5, 3)), finalist("f", (9, 1))]
    assert picked(only, BETTER, "measured") is only[1]


MEASURES = ["length_distortion", "ntk_condition_number"]
FLOATS = st.floats(allow_nan=False)


@given(st.lists(st.tuples(FLOATS, FLOATS, FLOATS, st.text(st.characters(codec="utf-8")))))
def test_reading_gives_back_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, cells: list[tuple[float, float, float, str]]
) -> None:
    rows = [
        make_row(
            number,
            values=dict(zip(MEASURES, (length, kappa), strict=True)),
            reward=reward,
            reason=" ".join(reason.split()),
        )
        for number, (length, kappa, reward, reason) in enumerate(cells)
    ]
    path = tmp_path_factory.mktemp("rows") / "trials.csv"
    write_trials(path, rows, MEASURES)
    assert read_trials(path) == rows


def test_sizes_that_are_measures_keep_their_one_column(tmp_path: Path) -> None:
    path = tmp_path / "trials.csv"
    measures = ["macs", "length_distortion", "params"]
    values = {"macs": 123.0, "length_distortion": 0.5, "params": 2_319_624.0}
    write_trials(path, [make_row(values=values)], measures)
    assert path.read_text().splitlines()[0] == (
        "number,architecture,params,macs,length_distortion,reward,entropy,state,reason"
    )
    assert read_trials(path, measures) == [make_row(values=values)]
    assert read_trials(path)[0].values == {"length_distortion": 0.5}

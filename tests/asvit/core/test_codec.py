"""Strictness of the codec: nothing is converted, and what is wrong is named where it is."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asvit.core.codec import Nullable, finite, from_json, to_json, value_from_json
from tests.hostile import FIXED, changed_json, refused_or


@dataclass(frozen=True)
class Row:
    step: int
    values: Mapping[str, Nullable]


class Found(NamedTuple):
    value: Nullable
    where: Path


@dataclass(frozen=True)
class Whole:
    name: str
    count: int
    share: float
    lost: Nullable
    good: bool
    way: Literal["up", "down"]
    sizes: tuple[int, ...]
    ends: tuple[Nullable, Nullable]
    where: Path | None
    rows: Sequence[Row]
    more: Mapping[str, int]
    parts: Mapping[str, int] | None
    found: Found


numbers = st.floats(allow_nan=False, allow_infinity=False)
lost = numbers | st.just(math.nan)
rows = st.builds(
    Row, st.integers(), st.dictionaries(st.sampled_from(["macs", "a b"]), lost, max_size=2)
)
wholes = st.builds(
    Whole, st.text(), st.integers(), numbers, lost, st.booleans(), st.sampled_from(["up", "down"]),
    st.lists(st.integers()).map(tuple), st.tuples(lost, lost),
    st.none() | st.just(Path("a/b")), st.lists(rows, max_size=3).map(tuple),
    st.dictionaries(st.text(), st.integers(), max_size=2), st.none(),
    st.builds(Found, lost, st.just(Path("b"))),
)  # fmt: skip
RIGHT = Whole(
    "x", 1, 0.5, math.nan, True, "up", (1, 2), (0.1, math.nan), Path("a"),
    (Row(1, {"macs": 2.0, "kappa": math.nan}),), {"n": 1}, None,
    Found(math.nan, Path("b")),
)  # fmt: skip
CONTENT = to_json(RIGHT)


@FIXED
@given(wholes)
def test_round_trip_through_strict_json(made: Whole) -> None:
    text = json.dumps(to_json(made), allow_nan=False)
    found = from_json(json.loads(text), Whole)
    assert to_json(found) == to_json(made)
    assert repr(replace(found, rows=())) == repr(replace(made, rows=()))  # where NaN is not null


def test_the_form_has_null_for_nan() -> None:
    assert CONTENT["rows"] == [{"step": 1, "values": {"macs": 2.0, "kappa": None}}]
    assert (CONTENT["lost"], CONTENT["ends"], CONTENT["where"]) == (None, [0.1, None], "a")
    assert CONTENT["found"] == [None, "b"]
    assert (finite(1.5), finite(math.inf), to_json([math.inf])) == (1.5, None, [None])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"count": True}, "count may not be True"),
        ({"count": 1.0}, "count may not be 1.0"),
        ({"count": "1"}, "count may not be '1'"),
        ({"share": "1"}, "share may not be '1'"),
        ({"share": None}, "share may not be None"),
        ({"good": 1}, "good may not be 1"),
        ({"name": 3}, "name may not be 3"),
        ({"way": "left"}, "way may not be 'left'"),
        ({"sizes": 3}, "sizes may not be 3"),
        ({"sizes": "12"}, "sizes may not be '12'"),
        ({"ends": [1.0]}, "ends may not be"),
        ({"rows": [{"step": 1, "values": {"macs": "much"}}]}, "rows.values.macs may not be"),
        ({"rows": [3]}, "rows may not be 3"),
        ({"rows": [{"step": 1, "values": 3}]}, "rows.values may not be 3"),
        ({"rows": [{}]}, "rows has no 'step'"),
        ({"more": {"n": "x"}}, "more.n may not be 'x'"),
        ({"more": []}, "more may not be []"),
        ({"parts": 3}, "parts may not be 3"),
        ({"found": [1.0]}, "found"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is compared below
        from_json({**CONTENT, **change}, Whole)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_missing_is_named_and_what_is_more_is_left_aside() -> None:
    assert to_json(from_json({**CONTENT, "new": 1}, Whole)) == CONTENT
    with pytest.raises(ValueError, match="it has no 'count'"):
        from_json({name: one for name, one in CONTENT.items() if name != "count"}, Whole)
    with pytest.raises(ValueError, match=r"it may not be \[\]"):
        from_json([], Whole)
    assert value_from_json([1, 2], Sequence[float]) == [1, 2]


@FIXED
@given(data=st.data())
def test_any_content_is_of_the_declared_types_or_refused(data: st.DataObject) -> None:
    found = refused_or(lambda: from_json(data.draw(changed_json(CONTENT)), Whole))
    if found is not None:
        assert repr(from_json(to_json(found), Whole)) == repr(found)

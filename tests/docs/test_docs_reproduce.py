"""docs/reproduce.md: its commands are read by the programs, and quick ones print its numbers."""

import argparse
import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest
from click.testing import CliRunner
from doc_examples import ROOT, check_options

from asvit.cli.app import app
from experiments import reproduce
from experiments.reproduce import PAPERS, Reproduced

ROWS = [row for paper in PAPERS for row in reproduce.rows_of(paper)]
QUICK = [
    row
    for row in ROWS
    if row.command.split()[1] in ("cost", "list")
    or re.search("--print|search_statistics", row.command)
]


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
        check_options([word.replace("IMAGE", __file__) for word in words[1:]])
        return
    assert words[:2] == ["python", "-m"]
    parse = argparse.ArgumentParser.parse_args

    def stop(parser: argparse.ArgumentParser, *given: object) -> None:
        parse(parser)
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    monkeypatch.setattr("sys.argv", words[2:])
    with pytest.raises(Parsed):
        import_module(words[2]).main()


@pytest.mark.parametrize("row", QUICK, ids=lambda row: row.item)
def test_quick_commands_print_the_numbers_of_the_page(
    row: Reproduced, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = shlex.split(row.command)
    if words[0] == "asvit":
        done = CliRunner().invoke(app, words[1:])
        assert done.exit_code == 0, done.output
        printed, told = done.output, re.findall(r"\d{1,3}(?:,\d{3})+", row.here)
    else:
        monkeypatch.setattr("sys.argv", words[2:])
        monkeypatch.chdir(ROOT)
        import_module(words[2]).main()
        printed, told = capsys.readouterr().out, re.findall(r"\d+\.\d", row.here)
    assert told
    assert [number for number in told if number not in printed] == []


def test_a_missing_number_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = Reproduced("counts", "asvit cost timm:asvit_seed", "2,319,625", "", "")
    with pytest.raises(AssertionError, match="2,319,625"):
        test_quick_commands_print_the_numbers_of_the_page(wrong, monkeypatch, None)  # type: ignore[arg-type]


def test_pictures_of_the_page_are_there() -> None:
    for name in re.findall(r"\]\((images/[^)]+)\)", reproduce.page()):
        assert (Path(reproduce.PAGE).parent / name).is_file(), name

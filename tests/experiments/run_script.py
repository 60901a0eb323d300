"""Runs scripts with a command line, and reads what they print and store."""

import csv
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


class Script:
    """Calls the main function of a script; after that, ``code`` and ``err`` are its last ones."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys
        self.code: Any = None
        self.err = ""

    def __call__(self, main: Callable[[], object], line: str = "") -> str:
        """What it prints to stdout."""
        self._monkeypatch.setattr(sys, "argv", ["script", *line.split()])
        self.code = main()
        printed = self._capsys.readouterr()
        self.err = printed.err
        return printed.out


def read_rows(path: Path | str) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with Path(path).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def table_cells(printed: str) -> list[list[str]]:
    """The cells of each line of the Markdown tables in a text."""
    lines = [line for line in printed.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]

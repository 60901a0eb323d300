"""A finished run of each kind, made by its command for all tests that look at one."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from asvit.report.pictures import Picture
from tests.asvit.cli.commands import RUNS, run, write_table, write_weights
from tests.asvit.runs.fakes import write_pictures

_SVG: Any = Picture.__dict__["svg"]


@pytest.fixture(scope="session")
def words(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[str]]:
    """The command of a kind, with its folder."""
    place = tmp_path_factory.mktemp("runs")
    table = write_table(place / "mine.csv")
    made = {
        "TABLE": str(table),
        "SUPERNET": str(place / "supernet-train"),
        "PICTURES": str(write_pictures(place / "pictures", each=4)),
        "WEIGHTS": str(write_weights(place / "weights.safetensors")),
    }

    def told(kind: str) -> list[str]:
        given = [made.get(word, word) for word in RUNS[kind]]
        return [*given, "--out", str(place / kind.replace(" ", "-"))]

    return told


@pytest.fixture(scope="session")
def finished(words: Callable[[str], list[str]]) -> Callable[[str], tuple[Path, Result]]:
    """The folder of a finished run of a kind, and what its command ended in."""

    @cache
    def finish(kind: str) -> tuple[Path, Result]:
        if kind == "supernet evolve":
            finish("supernet train")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Picture, "svg", _SVG)  # whatever the file has that asks first
            return Path(words(kind)[-1]), run(*words(kind), "--json")

    return finish

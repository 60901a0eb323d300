"""The figures of a search, and the rows beside them: failures, other measures, other spaces."""

import csv
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from asvit.runs.reporting import write_report
from asvit.runs.search import SEARCH
from asvit.search import SearchSettings
from asvit.search.result import Finalist, SearchResult
from asvit.search.rows import TrialRow, write_trials
from tests.asvit.runs.stored_results import RIGHT

NAMES = ("length_distortion", "ntk_condition_number")
ARCHITECTURES = ("8,2,3|4,1,2|4,1,4|4,1,6|32", "4,8,2|2,4,2|2,2,2|2,1,2|16")


def trials(count: int, names: tuple[str, ...] = NAMES, *, entropy: bool = True) -> list[TrialRow]:
    return [
        TrialRow(
            number=i,
            architecture=ARCHITECTURES[i % 2],
            params=1000 + i,
            macs=5000 + i,
            values={name: 1.0 + (i * 7 + place) % 11 for place, name in enumerate(names)},
            reward=math.sin(i),
            entropy=15.0 - i if entropy else math.nan,
            state="complete",
            reason="",
        )
        for i in range(count)
    ]


def searched(
    folder: Path, rows: list[TrialRow], names: tuple[str, ...] = NAMES, **settings: Any
) -> SearchResult:
    """A finished search of these trials, with its report."""
    folder.mkdir()
    write_trials(folder / "trials.csv", rows, names)
    values = dict.fromkeys(names, 2.5)
    replace(
        RIGHT[SearchResult][0],
        folder=folder,
        settings=SearchSettings.make(proxies=names, steps=len(rows), **settings),
        seed_architecture=ARCHITECTURES[0],
        values=values,
        steps=len(rows),
        front=rows[:1],
        finalists=[
            Finalist(ARCHITECTURES[1], None, True, 10, 20, values, values, ""),
            Finalist(ARCHITECTURES[0], 3, False, 10, 20, values, values, ""),
        ],
        reliability=None,
    ).write()
    write_report(SEARCH, folder)
    return SearchResult.read(folder / "result.json")


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> SearchResult:
    return searched(tmp_path_factory.mktemp("report") / "run", trials(12))


def test_a_result_gives_its_figures_and_its_table(result: SearchResult, tmp_path: Path) -> None:
    picture = result.plot("front")
    assert picture.svg == (result.folder / "front.svg").read_text(encoding="utf-8")
    assert repr(picture).count("step") <= 1  # not every row
    picture.savefig(tmp_path / "front.png")
    assert (tmp_path / "front.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="unknown figure 'fornt'; did you mean 'front'"):
        result.plot("fornt")
    assert result.to_dataframe().architecture.tolist() == [*ARCHITECTURES] * 6
    assert result.to_dataframe("front").on_front.dtype == bool


def test_every_trial_failed(tmp_path: Path) -> None:
    rows = [
        replace(row, values=dict.fromkeys(NAMES, math.nan), state="failed", reason="singular")
        for row in trials(3)
    ]
    result = searched(tmp_path / "run", rows)
    figure = (result.folder / "front.svg").read_text(encoding="utf-8")
    assert "no architecture has both measures" in figure
    assert [row[-1] for row in list(SEARCH.details(result))[-1].rows] == ["singular"] * 3


def test_rows_beside_the_figures_are_what_they_show(result: SearchResult) -> None:
    rows = rows_of(result.folder / "front.csv")
    assert list(rows[0]) == ["step", "architecture", "x", "y", "on_front"]
    assert [int(row["step"]) for row in rows] == list(range(12))
    shares = rows_of(result.folder / "choices.csv")
    assert {row["dimension"] for row in shares} >= {"K1", "E4"}
    total = sum(
        float(r["frequency"]) for r in shares if (r["dimension"], r["step"]) == ("K1", "11")
    )
    assert total == pytest.approx(1.0)

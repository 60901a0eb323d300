"""Studies compute every case once, whatever stops them; differences have the right intervals."""

import csv
import multiprocessing
import statistics
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from run_script import Script
from scipy.stats import ttest_rel

from experiments.study import (
    Study,
    cases,
    gain_cell,
    gains,
    mean_cell,
    paired_differences,
    pivot,
)
from experiments.tables import read_rows
from tests.campaigns import forked

FAMILIES, STEMS = ("vit", "resnet"), ("patch", "conv")
MORE = {"vit": 0.0, "resnet": 5.0, "patch": 0.0, "conv": 3.0, "digits": 10.0, "drawn": 0.0}


@dataclass(frozen=True)
class Row:
    pictures: str
    family: str
    stem: str
    seed: int
    accuracy: float


def trained(pictures: str, family: str, stem: str, seed: int) -> Mapping[str, object]:
    """A training whose accuracy is known."""
    noise = (7 * seed + len(family)) % 3 + 0.2 * seed * (stem == "conv")
    return {"accuracy": 50.0 + MORE[pictures] + MORE[family] + MORE[stem] + noise}


def study(table: Path) -> Study[Row]:
    every = cases(pictures=("digits", "drawn"), family=FAMILIES, stem=STEMS, seed=range(3))
    return Study(Row, table, every, trained, repeat="seed")


def keys(table: Path) -> list[tuple[str, ...]]:
    with table.open(newline="") as file:
        return [tuple(line)[:4] for line in csv.reader(file)][1:]


def test_a_stopped_study_goes_on_and_repeats_come_last(tmp_path: Path) -> None:
    whole = study(tmp_path / "table.csv")
    computed: list[dict[str, object]] = []

    def interrupted(**case: object) -> Mapping[str, object]:
        if len(computed) == 11:
            raise KeyboardInterrupt
        computed.append(case)
        return trained(**case)

    stopped = Study(Row, whole.table, whole.cases, interrupted, repeat="seed")
    with pytest.raises(KeyboardInterrupt):
        stopped.run()
    assert [case["seed"] for case in computed] == [0] * 8 + [1] * 3
    computed.clear()
    stopped.run(chosen=whole.missing()[:8])
    assert len(whole.run()) == 24
    assert keys(whole.table) == [tuple(map(str, case.values())) for case in whole.cases]


@pytest.fixture
def forked_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of a study are forked: new ones import torch."""
    contexts = {"spawn": forked.server()}
    monkeypatch.setattr(multiprocessing, "get_context", contexts.__getitem__)


def test_several_processes_give_the_same_table(tmp_path: Path, forked_processes: None) -> None:
    for jobs in (1, 2):
        study(tmp_path / f"{jobs}.csv").run(jobs)
    assert (tmp_path / "1.csv").read_bytes() == (tmp_path / "2.csv").read_bytes()


def test_a_command_computes_a_part_and_prints_the_rest(tmp_path: Path, script: Script) -> None:
    whole = study(tmp_path / "table.csv")

    def main() -> None:
        sys.stdout.write(f"{len(whole.main(__doc__))} rows\n")

    with pytest.raises(SystemExit, match=r"table\.csv has no rows; without --print they are"):
        script(main, "--print")
    assert script(main, "--only pictures=digits stem=conv").endswith("6 rows\n")
    assert script(main, "--print") == "6 rows\n"
    assert "digits, family vit, stem patch" in script(main)
    assert len(read_rows(whole.table, Row)) == 24
    with pytest.raises(SystemExit, match="no case is seed=9"):
        script(main, "--only seed=9")
    with pytest.raises(SystemExit, match=r"no column 'sed'; columns: pictures, family, stem"):
        script(main, "--only sed=1")


def test_cells_have_students_interval_of_pairs() -> None:
    ours, theirs = [80.0, 84.0, 85.0], [78.0, 83.0, 82.0]
    rows, others = (
        [Row("digits", "vit", stem, seed, value) for seed, value in enumerate(values)]
        for stem, values in (("conv", ours), ("patch", theirs))
    )
    low, high = ttest_rel(ours, theirs).confidence_interval()
    assert gain_cell(rows, others, pair=["seed"]) == f"+2.0 (−{-low:.1f} to {high:+.1f})"
    assert gain_cell(others[:1], rows[:1], pair=["seed"]) == "−2.0"
    more = [Row("drawn", "vit", "conv", seed, value + 2) for seed, value in enumerate(ours)]
    both = paired_differences([*rows, *more], others, pair=["seed"])  # means over pictures
    assert both == pytest.approx([3.0, 2.0, 4.0])


def test_tables_have_a_line_for_each_combination(tmp_path: Path) -> None:
    rows = study(tmp_path / "table.csv").run()
    lines = pivot(rows, ("family", "stem"), "pictures", mean_cell).splitlines()
    assert lines[0] == "| family | stem | digits | drawn |"
    own = [row.accuracy for row in rows if row.pictures == "digits" and row.stem == "patch"][:3]
    told = f"{statistics.fmean(own):.1f} ± {statistics.stdev(own):.1f} (3)"
    assert lines[2].startswith(f"| vit | patch | {told} | ")
    lines = gains(rows, "stem", "patch", lines=["family"], column="pictures").splitlines()
    assert lines[2:] == [
        "| vit | conv | **+3.2 (+2.7 to +3.7)** | **+3.2 (+2.7 to +3.7)** |",
        "| resnet | conv | **+3.2 (+2.7 to +3.7)** | **+3.2 (+2.7 to +3.7)** |",
    ]
    apart = [row for row in rows if row.seed == (row.stem == "conv")]  # no seed has both stems
    lines = gains(apart, "stem", "patch", lines=["family"], column="pictures").splitlines()
    assert lines[2:] == ["| vit | conv |  |  |", "| resnet | conv |  |  |"]

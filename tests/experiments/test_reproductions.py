"""The papers' ablations, statistics and complexity study, at their smallest."""

import re
import statistics
from dataclasses import replace
from pathlib import Path

import pytest
from run_script import Script, read_rows, table_cells

from experiments import (
    compare_ablations,
    complexity_study,
    search_statistics,
)
from experiments.compare_ablations import GROUPS
from experiments.tasks import SEED, TASKS


def test_every_variant_is_trained_on_the_same_batches(
    monkeypatch: pytest.MonkeyPatch, script: Script
) -> None:
    monkeypatch.setattr(compare_ablations, "STEPS", 2)
    few = replace(TASKS["digits"], train=200, test=100)
    loaded = few, few.load(Path("pictures"))
    monkeypatch.setattr(compare_ablations, "load_task", lambda _name: loaded)
    twins = {"itself": compare_ablations._shift(), "a twin": compare_ablations._shift()}
    monkeypatch.setattr(compare_ablations, "GROUPS", {"ShiftViT": twins})
    line = "--trainings 2 --table table.csv"
    printed = script(compare_ablations.main, line)
    rows = read_rows("table.csv")
    assert [row["kind"] for row in rows] == [f"ShiftViT: {name}" for name in twins for _ in "12"]
    assert [row["accuracy"] for row in rows[:2]] == [row["accuracy"] for row in rows[2:]]
    assert "| ShiftViT | a twin | " in printed
    assert printed.endswith(script(compare_ablations.main, f"{line} --print"))


def test_variants_differ_from_their_network_in_one_part() -> None:
    for variants in GROUPS.values():
        own = variants["itself"]
        texts = [str(network) for network in variants.values()]
        assert len({*texts}) == len(texts)
        for network in variants.values():
            assert network.architecture.split("(")[0] == own.architecture.split("(")[0]
            network.build()


def test_means_of_searches_are_those_of_their_choices() -> None:
    texts = [SEED, "4,8,6|2,1,2|4,1,4|2,1,2|64"]
    cells = table_cells(search_statistics.table({"some": texts}))[2]
    assert cells[0] == "some (2)"
    assert cells[1] == f"6.0 ± {statistics.stdev([8, 4]):.1f}"
    assert cells[-1] == f"48.0 ± {statistics.stdev([32, 64]):.1f}"


def test_the_study_has_a_panel_for_every_measure(script: Script) -> None:
    printed = script(complexity_study.main, "--figure study.svg")
    drawn = Path("study.svg").read_text(encoding="utf-8")
    taus = re.findall(r"τ (\S+?)[,\n]", printed)
    assert len(taus) == len(complexity_study.MEASURES)
    assert all(f"τ {tau}" in drawn for tau in taus)

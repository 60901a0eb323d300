"""The papers' ablations, at their smallest."""

from dataclasses import replace
from pathlib import Path

import pytest
from run_script import read_rows

from experiments import (
    compare_ablations,
)
from experiments.compare_ablations import GROUPS
from experiments.tasks import TASKS


def test_every_variant_is_trained_on_the_same_batches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compare_ablations, "STEPS", 2)
    few = replace(TASKS["digits"], train=200, test=100)
    loaded = few, few.load(Path("pictures"))
    monkeypatch.setattr(compare_ablations, "load_task", lambda _name: loaded)
    twins = {"itself": compare_ablations._shift(), "a twin": compare_ablations._shift()}
    monkeypatch.setattr(compare_ablations, "GROUPS", {"ShiftViT": twins})
    monkeypatch.setattr(compare_ablations, "TRAININGS", 2)
    monkeypatch.setattr(compare_ablations, "TABLE", Path("table.csv"))
    printed = compare_ablations.table(compare_ablations.study().run())
    rows = read_rows("table.csv")
    assert [row["kind"] for row in rows] == [f"ShiftViT: {name}" for name in twins for _ in "12"]
    assert [row["accuracy"] for row in rows[:2]] == [row["accuracy"] for row in rows[2:]]
    assert "| ShiftViT | a twin | " in printed


def test_variants_differ_from_their_network_in_one_part() -> None:
    for variants in GROUPS.values():
        own = variants["itself"]
        texts = [str(network) for network in variants.values()]
        assert len({*texts}) == len(texts)
        for network in variants.values():
            assert network.architecture.split("(")[0] == own.architecture.split("(")[0]
            network.build()

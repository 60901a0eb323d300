"""The comparison of a supernet's winners with others runs, at its smallest, and goes on."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from run_script import Script, read_rows

import asvit
from asvit.search.supernet_result import EvolutionResult
from asvit.training.supernets.settings import SupernetSettings
from experiments import compare_psvit
from experiments.compare_psvit import Row, gaps

TRAINING = {
    "classes": 3, "train_images": 24, "validation_images": 9, "test_images": 9, "image_size": 32,
    "width": 12, "epochs": 1, "batch_size": 12, "device": "cpu",
}  # fmt: skip
EVOLUTION = {
    "population": 3, "generations": 1, "keep": 1, "crossovers": 0, "mutations": 0,
    "random_paths": 1, "device": "cpu",
}  # fmt: skip


def test_all_are_trained_at_the_largest_width_within_the_limit(
    monkeypatch: pytest.MonkeyPatch, script: Script
) -> None:
    def searched(*, space: str, seed: int, out: Path, **settings: Any) -> SimpleNamespace:
        assert (space, seed, out) == ("psvit2d", 0, Path("out/seed0/search"))
        found = [settings[name] for name in ("data", "image_size", "steps")]
        assert found == ["fractal:3", 32, 2]
        return SimpleNamespace(seed_architecture="psvit2d:b-----|s-----|b-----")

    monkeypatch.setattr(compare_psvit, "TRAINING", TRAINING)
    monkeypatch.setattr(compare_psvit, "EVOLUTION", EVOLUTION)
    monkeypatch.setattr(asvit, "run_search", searched, raising=False)  # tested elsewhere
    line = "--steps 2 --random 1 --seeds 1 --out out"
    printed = script(compare_psvit.main, line).splitlines()
    origins = ("supernet", "training-free", "within 1", "random 1")
    assert [line.split(" | ")[:2] for line in printed[-12:-8]] == [["| 0", one] for one in origins]
    assert [line.split(" | ")[0] for line in printed[-5:]] == [
        "| supernet than training-free", "| supernet than within", "| supernet than random",
        "| training-free than random", "| within than random",
    ]  # fmt: skip
    rows = read_rows("out/trainings.csv")
    assert len(rows) == 4
    limit = int(EvolutionResult.read(Path("out/seed0/found/result.json")).settings.max_macs or 0)
    for row in rows:
        assert 0.8 * limit < int(row["macs"]) <= limit
        assert 0 <= float(row["accuracy"]) <= 100
    again = script(compare_psvit.main, line).splitlines()
    assert again == printed[4:]  # nothing is trained again


def test_what_does_not_fit_at_any_width_is_refused() -> None:
    settings = SupernetSettings.make(image_size=32)
    with pytest.raises(ValueError, match="more than 10 multiply-adds at its smallest width"):
        compare_psvit.at_limit("psvit2d:b-----|------|------", settings, 10, 10)


def test_gaps_are_those_within_a_seed() -> None:
    rows = [
        Row(seed, origin, "", 0, 0, accuracy)
        for seed, origin, accuracy in (
            (0, "supernet", 50.0), (0, "random 1", 44.0), (0, "random 2", 46.0),
            (1, "supernet", 30.0), (1, "random 1", 33.0), (1, "random 2", 31.0),
        )
    ]  # fmt: skip
    assert gaps(rows, "supernet", "random") == [5.0, -2.0]

"""The comparison of a supernet's winner with others runs, at its smallest, and goes on."""

import csv
import sys
from pathlib import Path

import pytest

from asvit.runs.evolution import evolve_supernet
from asvit.runs.supernet import train_supernet
from asvit.training.supernet_settings import make_settings
from experiments import compare_psvit


def test_all_are_trained_at_the_largest_width_within_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    train_supernet(
        out="net", device="cpu", classes=3, train_images=24, validation_images=9, test_images=9,
        image_size=32, width=12, epochs=1, batch_size=12,
    )  # fmt: skip
    evolution = evolve_supernet(
        "net", out="found", device="cpu", population=3, generations=1, keep=1, crossovers=0,
        mutations=0, random_paths=1,
    )  # fmt: skip
    words = "compare found --steps 2 --random 1 --seeds 1 --out compared"
    monkeypatch.setattr(sys, "argv", words.split())
    compare_psvit.main()
    table = capsys.readouterr().out.splitlines()[-5:]
    assert [line.split(" | ")[0] for line in table[2:]] == [
        "| supernet", "| training-free", "| random 1",
    ]  # fmt: skip
    with Path("compared/trainings.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    limit = int(evolution.settings.max_macs or 0)
    assert len(rows) == 3
    for row in rows:
        assert 0.8 * limit < int(row["macs"]) <= limit
        assert 0 <= float(row["accuracy"]) <= 100
    compare_psvit.main()
    assert capsys.readouterr().out.splitlines() == table  # nothing is trained again


def test_what_does_not_fit_at_any_width_is_refused() -> None:
    settings = make_settings(image_size=32)
    with pytest.raises(ValueError, match="more than 10 multiply-adds at its smallest width"):
        compare_psvit.at_limit("psvit2d:b-----|------|------", settings, 10, 10)

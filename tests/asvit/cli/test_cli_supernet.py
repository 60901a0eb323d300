"""``asvit supernet train`` and ``evolve`` and their progress, on small settings."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from asvit.training.trainer import Trainer
from tests.asvit.cli.commands import RUNS, run

TRAIN = RUNS["supernet train"]
EVOLVE = RUNS["supernet evolve"][3:]


@pytest.fixture
def trained(finished: Any) -> tuple[Path, Result]:
    return finished("supernet train")


@pytest.fixture
def evolved(finished: Any) -> tuple[Path, Result]:
    return finished("supernet evolve")


def test_evolve_gives_its_result_as_json(evolved: tuple[Path, Result]) -> None:
    _, result = evolved
    assert result.exit_code == 0, result.stderr
    data = json.loads(result.stdout, parse_constant=pytest.fail)
    assert data["macs"] <= data["settings"]["max_macs"]
    assert data["evaluated"] == sum(row["paths"] for row in data["generations"]) == 18
    assert data["validation"] == max(row["best"] for row in data["generations"])
    assert data["validation"] >= data["random"]["validation"]["highest"]
    assert data["random"]["test"]["paths"] == data["generations"][0]["paths"]
    assert data["next_command"] == (
        f"asvit train {evolved[0]} --recipe small --data fractal --train-images 30 "
        "--image-size 16 --epochs 2 --batch-size 10 --seed 0 --classes 3"
    )


def test_more_generations_extend_an_evolution(
    trained: tuple[Path, Result], tmp_path: Path
) -> None:
    whole, short = tmp_path / "whole", tmp_path / "short"
    words = ["supernet", "evolve", trained[0], *EVOLVE, "--quiet", "--json"]
    run(*words, "--generations", 3, "--out", whole)
    run(*words, "--generations", 1, "--out", short)
    extended = json.loads(run(*words, "--generations", 3, "--out", short).stdout)
    assert (
        extended["generations"] == json.loads((whole / "result.json").read_text())["generations"]
    )
    assert (short / "trials.csv").read_bytes() == (whole / "trials.csv").read_bytes()
    fewer = run(*words, "--generations", 2, "--out", short)
    assert fewer.exit_code == 3
    assert "was started with generations 3 (now 2)" in fewer.stderr


def test_an_unfinished_supernet_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Trainer.train

    def first_alone(trainer: Trainer, epoch: int, **given: Any) -> Any:
        if epoch:
            raise KeyboardInterrupt
        return whole(trainer, epoch, **given)

    monkeypatch.setattr(Trainer, "train", first_alone)
    stopped = run(*TRAIN, "--out", tmp_path / "run")
    assert stopped.exit_code == 130
    assert f"to go on: asvit {' '.join(TRAIN)}" in stopped.stderr
    result = run("supernet", "evolve", tmp_path / "run")
    assert result.exit_code == 3
    assert "is unfinished, 1 of 2 epochs; the same asvit supernet train goes on" in result.stderr

"""``asvit supernet train`` and ``evolve`` and their progress, on small settings."""

import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from asvit.data import MEAN
from asvit.networks import Network, WeightsFile
from asvit.runs.algorithms.evolution import training_command
from asvit.search.supernet_result import PathRow
from asvit.search.supernet_space import AllowedPaths
from asvit.training.short import accuracy
from asvit.training.short_settings import SupernetSettings
from asvit.training.supernet import load_splits
from asvit.training.trainer import Trainer
from tests.asvit.cli.commands import RUNS, run
from tests.hostile import flipped

TRAIN = RUNS["supernet train"]
EVOLVE = RUNS["supernet evolve"][3:]


@pytest.fixture
def trained(finished: Any) -> tuple[Path, Result]:
    return finished("supernet train")


@pytest.fixture
def evolved(finished: Any) -> tuple[Path, Result]:
    return finished("supernet evolve")


def test_train_tells_people_on_stderr(trained: tuple[Path, Result]) -> None:
    lines = trained[1].stderr.splitlines()
    assert lines[0] == "preparing 57 images"
    assert lines[1] == (
        "training the supernet of psvit2d: 2 epochs of 30 images in batches of 10, fractal:3, "
        "16 px, width 6, seed 0"
    )
    assert "step 1/3 of epoch 1  loss " in lines[2]
    assert lines[-1] == f"next:   asvit supernet evolve {trained[0]}"


def test_evolve_gives_its_result_as_json(evolved: tuple[Path, Result]) -> None:
    _, result = evolved
    assert result.exit_code == 0, result.stderr
    data = json.loads(result.stdout, parse_constant=pytest.fail)
    assert data["macs"] <= data["settings"]["max_macs"] == data["deit_macs"]
    assert data["evaluated"] == sum(row["paths"] for row in data["generations"]) == 18
    assert data["validation"] == max(row["best"] for row in data["generations"])
    assert data["validation"] >= data["random"]["in_window"]["validation"]["highest"]
    assert data["random"]["anywhere"]["test"]["paths"] == 4
    assert data["next_command"] == (
        f"asvit train {evolved[0]} --recipe small --data fractal --train-images 30 "
        "--image-size 16 --epochs 2 --batch-size 10 --seed 0 --classes 3"
    )


def test_evolve_leaves_a_report_and_tables(evolved: tuple[Path, Result]) -> None:
    folder = evolved[0]
    names = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    assert names == {
        "accuracies.jsonl", "costs.csv", "costs.svg", "generations.csv", "generations.svg",
        "inherited.safetensors", "report.html", "result.json", "trials.csv",
    }  # fmt: skip
    rows = (folder / "trials.csv").read_text().splitlines()
    assert rows[0] == "number,generation,origin,architecture,path,macs,validation"
    assert len(rows) == 19
    winner = json.loads((folder / "result.json").read_text())["architecture"]
    assert winner in (folder / "report.html").read_text()


def test_the_weights_of_the_winner_are_those_that_were_tested(
    trained: tuple[Path, Result], evolved: tuple[Path, Result]
) -> None:
    result = json.loads((evolved[0] / "result.json").read_text())
    file = WeightsFile.read(evolved[0] / "inherited.safetensors")
    assert file.network == Network(result["architecture"], 16, 3)
    assert (file.facts["top1"], file.facts["mean"]) == (result["test"], list(MEAN))
    assert file.classes == ("fractal-00000", "fractal-00001", "fractal-00002")
    model = file.load()
    settings = json.loads((trained[0] / "result.json").read_text())["settings"]
    parts = load_splits(SupernetSettings.make(**settings))
    assert accuracy(model, *parts.test) == result["test"]
    assert accuracy(model, *parts.validation) == result["validation"]


def test_the_next_command_trains_the_winner(evolved: tuple[Path, Result], tmp_path: Path) -> None:
    words = shlex.split(json.loads(evolved[1].stdout)["next_command"])[1:]
    result = run(*words, "--out", tmp_path / "trained", "--workers", "0", "--json")
    assert result.exit_code == 0, result.stderr
    data = json.loads(result.stdout)
    assert data["settings"]["architecture"] == json.loads(evolved[1].stdout)["architecture"]
    assert [row["epoch"] for row in data["history"]] == [1, 2]


@pytest.mark.parametrize(("count", "most"), [(1_600, 1_600), (1_750, 1_618)])
def test_the_next_command_asks_for_no_more_images_than_a_training_has(
    count: int, most: int
) -> None:
    held_out = {"validation_images": 20, "test_images": 20}
    settings = SupernetSettings.make(data="digits", train_images=count, **held_out)
    command = training_command(Path("run"), settings)
    assert f" --data digits --train-images {most} --image-size 64 " in command


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
    assert "was started with other settings: generations 3 (now 2)" in fewer.stderr


def test_more_random_paths_extend_an_evolution_and_are_told_of(
    trained: tuple[Path, Result], tmp_path: Path
) -> None:
    words = ["supernet", "evolve", trained[0], *EVOLVE, "--out", tmp_path]
    run(*words)
    more = run(*words, "--random-paths", 6)
    assert re.search(r"random path (\d+)/\1  ", more.stderr)
    assert "had finished before" not in more.stderr
    assert "had finished before" in run(*words, "--random-paths", 6).stderr
    weights = tmp_path / "inherited.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(flipped(whole, -8))
    assert run(*words, "--random-paths", 6).exit_code == 0
    assert weights.read_bytes() == whole  # a damaged one is written again


def test_the_first_paths_may_be_of_a_later_generation(
    trained: tuple[Path, Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    propose = AllowedPaths.propose

    def none_at_first(
        paths: AllowedPaths, generation: int, before: Sequence[PathRow]
    ) -> list[PathRow]:
        return propose(paths, generation, before) if generation > 1 else []

    monkeypatch.setattr(AllowedPaths, "propose", none_at_first)
    words = ["supernet", "evolve", trained[0], *EVOLVE, "--generations", 3, "--json"]
    result = run(*words, "--out", tmp_path / "run")
    assert result.exit_code == 0, result.stderr
    data = json.loads(result.stdout)
    first = data["generations"][0]
    assert first["generation"] == 2
    assert data["random"]["in_window"]["validation"]["paths"] == first["paths"]
    assert data["reason"] == ""  # the last one has paths


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

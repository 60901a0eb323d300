"""``checkpoint.safetensors``: round trip, and files that are refused."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from asvit.training.checkpoint import Checkpoint, EngineState, Origin
from asvit.training.metrics import EpochRow
from asvit.training.settings import TrainSettings

ROW = EpochRow(1, "(4,1)", 1e-3, 2.0, 1.5, 50.0, 90.0, 1.25, 52.0, 91.0, 300.0, 4.5)


def checkpoint(epochs: int = 3) -> Checkpoint:
    weight = torch.randn(3, 4)
    settings = TrainSettings.make(architecture="timm:resnet18", epochs=epochs)
    images = {"source": "somewhere", "digest": "abc"}
    origin = Origin(settings, images, ("a", "b"), "cpu", ({"stride": 4, "fraction": 1.0},))
    state = EngineState(
        weights={"w": weight, "tied": weight, "count": torch.tensor(7)},
        average={"w": weight + 1},
        moments={"0/exp_avg": torch.randn(4, 3).T, "0/step": torch.tensor(5.0)},
        numbers={"groups": [{"lr": 0.1, "betas": [0.9, 0.999]}], "state": {}},
    )
    return Checkpoint(origin, (ROW,), 12.5, {"a.png": 2}, state)


def same(ours: EngineState, theirs: EngineState) -> bool:
    pairs = [(getattr(ours, n), getattr(theirs, n)) for n in ("weights", "average", "moments")]
    return ours.numbers == theirs.numbers and all(
        a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in b) for a, b in pairs
    )


def test_round_trip(tmp_path: Path) -> None:
    written = checkpoint()
    written.write(tmp_path / "c.safetensors")
    found = Checkpoint.read(tmp_path / "c.safetensors")
    assert same(found.state, written.state)
    assert replace(found, state=written.state) == written


def test_the_optimiser_is_not_kept_with_a_finished_training(tmp_path: Path) -> None:
    written = checkpoint(epochs=1)
    assert written.finished
    written.write(tmp_path / "c.safetensors")
    found = Checkpoint.read(tmp_path / "c.safetensors")
    assert not found.state.moments
    assert found.state.weights.keys() == written.state.weights.keys()


@pytest.mark.parametrize("kept", [0, 7, 100, -1])
def test_a_part_of_a_file_is_refused(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "c.safetensors"
    checkpoint().write(path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match="is not a checkpoint that this version can read"):
        Checkpoint.read(path)


def test_missing_and_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        Checkpoint.read(path)
    save_file({"w": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match="is not a checkpoint"):
        Checkpoint.read(path)
    checkpoint().write(path)
    with safe_open(path, "pt") as file:
        header = json.loads(file.metadata()["asvit"])
    for changed in ({"schema_version": 99}, {"kind": "supernet"}, {"settings": {"newer": 1}}):
        content = {"asvit": json.dumps({**header, **changed})}
        save_file({"w": torch.zeros(2)}, path, content)
        with pytest.raises(ValueError, match="or give --fresh to start over"):
            Checkpoint.read(path)

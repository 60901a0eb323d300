"""NaN and infinity: in settings, weights, losses, measures, tables and images."""

import csv
import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_runs import fails

from asvit.core.tensor_files import read_tensors, write_tensors
from proxies.registry import PROXIES, Inputs
from tests.campaigns import forked
from tests.campaigns.kill_runs import RUN, Campaign, words

NOT_FINITE = [float("nan"), float("inf")]


def poison(path: Path, value: float, *, to: Path | None = None) -> Path:
    """Put ``value`` into every matrix of a file."""
    header, tensors = read_tensors(path)
    for tensor in tensors.values():
        if tensor.is_floating_point() and tensor.ndim > 1:
            tensor.view(-1)[0] = value
    target = to or path
    write_tensors(target, tensors, header)
    return target


@pytest.mark.parametrize("name", ["train", "supernet train"])
def test_a_loss_ends_a_training_with_what_helps(campaign: Campaign, name: str) -> None:
    folder = campaign.new(name, "diverged")
    too_fast = [*words(name), "--learning-rate", "1e30"]
    fails(too_fast, folder, "the loss became nan in", "use a lower learning rate than 1e+30")
    assert not (folder / RUN / "result.json").exists()


@pytest.mark.parametrize("value", NOT_FINITE)
def test_weights_to_start_from(campaign: Campaign, value: float) -> None:
    folder = campaign.new("train", f"from-{value}")
    made = campaign.reference_folder("train") / RUN / "model.safetensors"
    start = poison(made, value, to=folder / "start.safetensors")
    given = [*words("train"), "--weights", str(start)]
    fails(given, folder, "the weights to start from are infinite or NaN, as in ")
    assert not (folder / RUN / "checkpoint.safetensors").exists()


def test_weights_of_a_checkpoint(campaign: Campaign) -> None:
    folder = campaign.new("train", "poisoned")
    campaign.finish("train", folder)
    (folder / RUN / "result.json").unlink()
    poison(folder / RUN / "checkpoint.safetensors", float("nan"))
    fails(words("train"), folder, "of the checkpoint are infinite or NaN, as in ")


def spoil_measures(every: int, value: float) -> None:
    """Let the length be ``value`` for one network in ``every``."""
    right = PROXIES["length_distortion"]
    taken = 0

    def spoilt(model: torch.nn.Module, inputs: Inputs) -> float:
        nonlocal taken
        taken += 1
        return value if taken % every == 0 else right.value(model, inputs)

    PROXIES[right.name] = replace(right, value=spoilt)


@pytest.mark.slow
@pytest.mark.parametrize("value", NOT_FINITE)
def test_measures(tmp_path: Path, value: float) -> None:
    prepare = partial(spoil_measures, 3, value)
    assert forked.run(forked.command, words("search"), tmp_path, prepare=prepare) == 0
    with (tmp_path / RUN / "trials.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    failed = [row for row in rows if row["state"] == "failed"]
    assert 1 <= len(failed) < len(rows) == 8
    assert all("the value is " in row["reason"] for row in failed)
    result = json.loads((tmp_path / RUN / "result.json").read_text())
    assert result["failures"] == len(failed)
    assert all(row["state"] == "complete" for row in result["front"])


@pytest.mark.parametrize("value", NOT_FINITE)
def test_an_image_of_a_folder(tmp_path: Path, value: float) -> None:
    for name in ("a", "b"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(18):
            pixels = np.full((32, 32), 10.0 * number + (name == "b"), np.float32)
            pixels[0, 0] = value if (name, number) == ("a", 0) else 0.0
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{number}.tiff")
    command = [*words("train"), "--data", "images", "--held-out", "0.25"]
    command[command.index("--classes") + 1] = "2"
    fails(command, tmp_path, "1 of its numbers are NaN or infinite, some in channel 1")

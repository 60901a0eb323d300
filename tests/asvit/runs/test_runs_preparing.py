"""Transparent and oblong pictures: trained, tested, predicted and exported alike."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import asvit
from asvit.core.tensor_files import read_header
from asvit.networks import WeightsFile
from asvit.runs.training import run_training
from tests.asvit.runs.fakes import stop_after

NETWORK = "shift:1,1,1,1|1|8|1|16"
PLAIN: dict[str, Any] = {
    "recipe": "small", "image_size": 32, "epochs": 3, "batch_size": 16, "learning_rate": 1e-2,
    "crop_scale": 0.8, "color_jitter": 0.0, "device": "cpu",
}  # fmt: skip

Picture = Callable[[np.random.Generator, int], Image.Image]


def with_class_at_an_end(rng: np.random.Generator, label: int) -> Image.Image:
    """Of 3:1; the central square is noise."""
    pixels = rng.integers(90, 160, (24, 72, 3)).astype(np.uint8)
    pixels[4:20, :16] = (0, 200, 0) if label else (200, 0, 0)
    return Image.fromarray(pixels)


def black_on_nothing(rng: np.random.Generator, label: int) -> Image.Image:
    """A black bar, upright or not, and nothing around it: what is stored there is not seen."""
    pixels = rng.integers(0, 256, (40, 40, 4)).astype(np.uint8)
    pixels[..., 3] = 0
    pixels[(slice(16, 24), slice(4, 36))[:: 1 if label else -1]] = (0, 0, 0, 255)
    return Image.fromarray(pixels)


def pictures(folder: Path, picture: Picture, count: int = 64) -> Path:
    rng = np.random.default_rng(0)
    for number in range(count):
        path = folder / f"class{number % 2}" / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(rng, number % 2).save(path)
    return folder


def shares(weights: Path, files: list[Path]) -> list[list[float]]:
    """Probabilities of both classes by ``asvit predict``."""
    found = [
        {guess.label: guess.probability for guess in prediction.guesses}
        for prediction in asvit.predict(weights, files, device="cpu")
    ]
    return [[one["class0"], one["class1"]] for one in found]


def shares_of_script(model: Path, files: list[Path]) -> list[list[float]]:
    told = subprocess.run(
        [sys.executable, model.with_name("predict.py"), model, *files],
        check=True,
        capture_output=True,
        text=True,
    )
    return [[*json.loads(line)["probabilities"].values()] for line in told.stdout.splitlines()]


@pytest.mark.parametrize(
    ("picture", "options", "facts", "learnt"),
    [
        (with_class_at_an_end, {"fit": "crop"}, {}, False),
        (with_class_at_an_end, {"fit": "squash"}, {"crop_mode": "squash"}, True),
        (black_on_nothing, {}, {"ground": "white"}, True),
    ],
)
def test_pictures_are_prepared_alike_wherever_a_network_sees_them(
    picture: Picture,
    options: dict[str, str],
    facts: dict[str, object],
    learnt: bool,
    tmp_path: Path,
) -> None:
    pytest.importorskip("onnxruntime")
    data, run = pictures(tmp_path / "set", picture), tmp_path / "run"
    result = run_training(NETWORK, data=data, out=run, **PLAIN, **options)
    stored = WeightsFile.read(run / "model.safetensors").facts
    assert {name: stored.get(name) for name in facts} == facts
    assert ("ground" in stored, "crop_mode" in stored) == ("ground" in facts, "crop_mode" in facts)
    assert (result.last.top1 == 100) == (asvit.test(data, weights=run).accuracy == 100) == learnt
    if not learnt:
        return
    files = [*data.glob("class?/00*.png")]
    expected = shares(run, files)
    onnx = asvit.export_network(weights=run, to="onnx", with_preprocessing=True).out
    np.testing.assert_allclose(shares(onnx, files), expected, atol=1e-4)
    np.testing.assert_allclose(shares_of_script(onnx, files), expected, atol=1e-4)
    card = onnx.with_name("model.onnx.md").read_text()
    assert ("* ground: white\n" in card) == ("ground" in facts)
    if not options:
        timm = asvit.export_network(weights=run, to="timm", out=tmp_path / "timm").out
        np.testing.assert_allclose(shares(timm / "model.safetensors", files), expected, atol=1e-4)


def test_a_training_goes_on_with_its_ground(tmp_path: Path) -> None:
    data, run = pictures(tmp_path / "set", black_on_nothing), tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        run_training(NETWORK, data=data, out=run, **PLAIN, progress=stop_after(1))
    assert read_header(run / "checkpoint.safetensors")["ground"] == "white"
    rng = np.random.default_rng(1)
    for file in data.glob("class?/*.png"):  # of other content, but of the same names
        with_class_at_an_end(rng, 0).save(file)
    run_training(NETWORK, data=data, out=run, **PLAIN)
    assert WeightsFile.read(run / "model.safetensors").facts["ground"] == "white"

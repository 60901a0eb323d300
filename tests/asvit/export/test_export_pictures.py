"""Copies that prepare pictures themselves: beside asvit predict, and run without asvit."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import asvit
from asvit.core.run_files import PREDICT_SCRIPT
from asvit.export.exporting import export_network
from asvit.export.formats import predict_script
from asvit.networks import Network, WeightsFile
from tests.asvit.export.without_asvit import run_script
from tests.asvit.runs.fakes import varied

pytest.importorskip("onnxruntime")

pytestmark = pytest.mark.usefixtures("forked_modules")

NETWORK = Network("shift:1,1,1,1|1|8|1|16", image_size=32, num_classes=3)
CLASSES = ("cat", "dog", 'the "ox"')
FACTS = {
    "mean": [0.4, 0.5, 0.6],
    "std": [0.1, 0.2, 0.3],
    "interpolation": "bicubic",
    "crop_pct": 0.875,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose network has other outputs for every picture, and a copy of it."""
    torch.manual_seed(0)
    model = varied(NETWORK, std=0.2)
    folder = tmp_path_factory.mktemp("run")
    WeightsFile(NETWORK, model.state_dict(), CLASSES, FACTS).write(folder / "model.safetensors")
    export_network(weights=str(folder), to="onnx", with_preprocessing=True)
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Pictures of odd sizes and of every kind that files have."""
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("pictures")

    def picture(height: int, width: int, *rest: int) -> Image.Image:
        small = rng.integers(0, 256, (5, 7, *rest), dtype=np.uint8)
        return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)

    turned = Image.Exif()
    turned[0x0112] = 6
    picture(37, 53, 3).save(folder / "odd.png")
    picture(331, 127, 3).save(folder / "tall.jpg")
    picture(31, 411, 3).save(folder / "long.bmp")
    picture(1, 1, 3).save(folder / "one.png")
    picture(32, 32, 3).save(folder / "same.png")
    picture(61, 45).save(folder / "grey.png")
    picture(64, 47, 3).convert("CMYK").save(folder / "cmyk.jpg")
    picture(90, 66, 3).save(folder / "turned.jpg", exif=turned)
    picture(48, 70, 4).save(folder / "clear.png")
    picture(48, 70, 3).convert("P").save(folder / "palette.gif", transparency=3)
    picture(40, 44, 3).convert("1").save(folder / "one-bit.png")
    picture(50, 60, 3).save(folder / "new.avif")
    return sorted(folder.iterdir())


def test_predict_tells_of_the_copy_what_it_tells_of_the_weights(
    run: Path, pictures: list[Path]
) -> None:
    there, here = (asvit.predict(path, pictures) for path in (run, run / "model.onnx"))
    shares = set()
    for one, other in zip(here, there, strict=True):
        assert not one.reason
        told, known = ({g.label: g.probability for g in side.guesses} for side in (one, other))
        assert told == pytest.approx(known, abs=1e-5), one.image
        shares.add(round(one.guesses[0].probability, 3))
    assert len(shares) > len(pictures) / 2  # neither all alike nor all certain


def check_script(folder: Path, images: list[Path]) -> None:
    """It gives the probabilities of ``asvit predict``."""
    ended = run_script(folder, "model.onnx", images)
    assert not ended.returncode, ended.stderr
    rows = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [row["image"] for row in rows] == list(map(str, images))
    for row, known in zip(rows, asvit.predict(folder, images), strict=True):
        expected = {guess.label: guess.probability for guess in known.guesses}
        assert row["probabilities"] == pytest.approx(expected, abs=1e-5), row["image"]


def test_the_script_needs_no_asvit_and_tells_the_same(run: Path, pictures: list[Path]) -> None:
    assert (run / PREDICT_SCRIPT).read_bytes() == predict_script()
    check_script(run, pictures)


def test_the_code_on_the_card_runs(run: Path, tmp_path: Path) -> None:
    card = (run / "model.onnx.md").read_text()
    assert "* shape: `[height, width, 3]`\n" in card
    assert PREDICT_SCRIPT in card
    code = card.partition("```python\n")[2].partition("```")[0]
    exif = Image.Exif()
    exif[274] = 6  # lies on its side
    Image.new("RGB", (50, 40), (200, 30, 9)).save(tmp_path / "picture.jpg", exif=exif)
    names: dict[str, np.ndarray] = {}
    exec(code.replace('"model.onnx"', repr(str(run / "model.onnx"))), names)
    assert names["image"].shape == (50, 40, 3)
    (known,) = asvit.predict(run, [tmp_path / "picture.jpg"], top=1)
    assert names["probabilities"].max() == pytest.approx(known.guesses[0].probability, abs=1e-5)

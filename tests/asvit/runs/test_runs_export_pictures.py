"""Copies that prepare pictures themselves: beside asvit predict, and run without asvit."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import asvit
from asvit.export.script import SCRIPT, SCRIPT_NAME
from asvit.networks import Network, WeightsFile
from asvit.runs.exporting import export_network

pytest.importorskip("onnxruntime")

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
    model = NETWORK.build()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
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
    picture(40, 44, 3).convert("1").save(folder / "one-bit.tiff")
    deep = rng.integers(0, 1 << 16, (50, 40)).astype(np.uint16)
    Image.fromarray(deep).save(folder / "16-bit.png")
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


def test_the_script_needs_no_asvit_and_tells_the_same(run: Path, pictures: list[Path]) -> None:
    """In a process where asvit and PyTorch cannot be imported."""
    assert (run / SCRIPT_NAME).read_text() == SCRIPT
    program = (
        "import runpy, sys\n"
        "sys.modules |= dict.fromkeys(('asvit', 'proxies', 'torch', 'torchvision', 'timm'))\n"
        "sys.argv = sys.argv[1:]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    words = [SCRIPT_NAME, "model.onnx", *map(str, pictures)]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    ended = subprocess.run(
        [sys.executable, "-P", "-c", program, *words],
        cwd=run,
        env=environment,
        check=True,
        capture_output=True,
        encoding="utf-8",
    )
    rows = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [row["image"] for row in rows] == list(map(str, pictures))
    for row, known in zip(rows, asvit.predict(run, pictures), strict=True):
        expected = {guess.label: guess.probability for guess in known.guesses}
        assert row["probabilities"] == pytest.approx(expected, abs=1e-5), row["image"]


def test_the_file_names_the_classes_without_asvit(run: Path) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(run / "model.onnx")
    assert json.loads(session.get_modelmeta().custom_metadata_map["classes"]) == list(CLASSES)
    (image,) = session.get_inputs()
    assert (image.name, image.type) == ("image", "tensor(uint8)")
    assert image.shape == ["height", "width", 3]
    assert [out.name for out in session.get_outputs()] == ["logits", "probabilities"]


def test_the_script_is_short() -> None:
    assert len([line for line in SCRIPT.splitlines() if line.strip()]) <= 20
    compile(SCRIPT, SCRIPT_NAME, "exec")


def test_the_code_on_the_card_runs(run: Path, tmp_path: Path) -> None:
    card = (run / "model.md").read_text()
    assert "[height, width, 3] of any size" in card
    assert SCRIPT_NAME in card
    code = card.partition("```python\n")[2].partition("```")[0]
    Image.new("RGB", (50, 40), (200, 30, 9)).save(tmp_path / "picture.jpg")
    names: dict[str, np.ndarray] = {}
    exec(code.replace('"model.onnx"', repr(str(run / "model.onnx"))), names)
    (known,) = asvit.predict(run, [tmp_path / "picture.jpg"], top=1)
    assert names["probabilities"].max() == pytest.approx(known.guesses[0].probability, abs=1e-5)


def test_another_predict_py_is_not_replaced(run: Path, tmp_path: Path) -> None:
    own = tmp_path / SCRIPT_NAME
    own.write_text("print('mine')\n")
    given = {"weights": str(run), "to": "onnx", "out": str(tmp_path / "a.onnx")}
    with pytest.raises(FileExistsError, match=r"predict.py' is not the script of such copies"):
        export_network(**given, with_preprocessing=True)
    assert own.read_text() == "print('mine')\n"
    assert [path.name for path in tmp_path.iterdir()] == [SCRIPT_NAME]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"to": "pt2"}, "with_preprocessing is for onnx, not for pt2"),
        ({"batch": 4}, "batch=4 does not suit with_preprocessing, which takes one picture"),
        ({"random": True, "weights": None}, None),
    ],
)
def test_what_does_not_suit(
    given: dict[str, object], words: str | None, run: Path, tmp_path: Path
) -> None:
    options = {"to": "onnx", "weights": str(run), "with_preprocessing": True, **given}
    if words is not None:
        with pytest.raises(ValueError, match=words):
            export_network(**options)
        return
    out = tmp_path / "random.onnx"
    sizes = {"image_size": 32, "num_classes": 2}
    export_network(NETWORK.architecture, **options, **sizes, out=str(out), card=False)
    path = tmp_path / "a.png"
    Image.new("RGB", (50, 40), (200, 30, 9)).save(path)
    (found,) = asvit.predict(out, [path])
    assert {guess.label for guess in found.guesses} == {"0", "1"}


def test_a_filter_that_no_graph_has_is_refused(run: Path, tmp_path: Path) -> None:
    content = WeightsFile.read(run / "model.safetensors")
    other = WeightsFile(NETWORK, content.weights, facts={**FACTS, "interpolation": "box"})
    other.write(path := tmp_path / "box.safetensors")
    with pytest.raises(ValueError, match="unknown interpolation 'box'"):
        export_network(weights=str(path), to="onnx", with_preprocessing=True)
    assert {file.name for file in tmp_path.iterdir()} == {"box.safetensors"}

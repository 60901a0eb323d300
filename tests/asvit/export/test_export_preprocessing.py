"""Pictures that a graph prepares, beside the transform of validation pictures."""

import json
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as tvf

from asvit.core.running import ABOUT
from asvit.core.shared_settings import BLACK, GROUNDS
from asvit.data.base import files_below
from asvit.data.decoding import FORMATS, MOST_PIXELS, read_as
from asvit.data.kinds import GREY, MEAN, NUMBERS, PICTURES, RGB, ImageKind
from asvit.data.preparation import CROP_MODES, Preparation
from asvit.networks import Network
from asvit.training.augmentation import Augmentation
from asvit.use.predicting import Classifier

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper  # noqa: E402

from asvit.export import bench, predict_script  # noqa: E402
from asvit.export.preprocessing import with_preprocessing  # noqa: E402

FILTERS = ("bilinear", "bicubic")
#: Sides of pictures over that of the network's images, and longer ones over 10 times a side.
SIDES = st.one_of(st.integers(1, 90), st.integers(90, 700))


def graph_of(how: Preparation) -> "onnx.ModelProto":
    """A graph whose network hands its images on."""
    inner = [1, how.kind.channels, how.image_size, how.image_size]
    node = helper.make_node("Flatten", ["images"], ["logits"], axis=1)
    size = how.kind.channels * how.image_size**2
    graph = helper.make_graph(
        [node],
        "network",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, inner)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, size])],
    )
    opset = [helper.make_opsetid("", 18)]
    return with_preprocessing(helper.make_model(graph, opset_imports=opset, ir_version=9), how)


def images_of(how: Preparation, pixels: NDArray[np.generic]) -> NDArray[np.float32]:
    """What the network gets, ``[channels, side, side]``."""
    graph = graph_of(how)
    onnx.checker.check_model(graph, full_check=True)
    session = onnxruntime.InferenceSession(
        graph.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    logits, shares = session.run(None, {"image": pixels})
    np.testing.assert_allclose(shares.sum(), 1, rtol=1e-3)
    shape = (how.kind.channels, how.image_size, how.image_size)
    output: NDArray[np.float32] = logits.reshape(shape)
    return output


@given(
    name=st.sampled_from(FILTERS),
    side=st.sampled_from([16, 31, 32, 50]),
    crop=st.sampled_from([0.8, 0.875, 0.9, 1.0]),
    height=SIDES,
    width=SIDES,
    seed=st.integers(0, 99),
)
def test_pixels_are_those_of_pillow_to_the_last_bit(
    name: str, side: int, crop: float, height: int, width: int, seed: int
) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    how = Preparation(side, PICTURES, (0, 0, 0), (1, 1, 1), name, crop)
    found = np.rint(255 * images_of(how, pixels)).astype(np.uint8)
    transform = Preparation(side, interpolation=name, crop_pct=crop).crop
    np.testing.assert_array_equal(found, transform(Image.fromarray(pixels)).numpy())


@pytest.mark.parametrize("mode", CROP_MODES)
@pytest.mark.parametrize("crop", [1.0, 0.8])
@pytest.mark.parametrize("size", [(90, 61), (20, 150), (9, 300), (1, 500), (61, 60), (5, 5)])
def test_oblong_pictures_are_those_of_pillow_to_the_last_bit(
    size: tuple[int, int], crop: float, mode: str
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    how = Preparation(33, PICTURES, MEAN, (1, 1, 1), crop_pct=crop, crop_mode=mode)
    for one in (pixels, pixels.swapaxes(0, 1)):
        output, expected = images_of(how, one), how(Image.fromarray(one))
        np.testing.assert_array_equal(output, expected.numpy())


@pytest.mark.parametrize("name", ["bilinear", "bicubic"])
@pytest.mark.parametrize(
    ("channels", "dtype", "scale"), [(5, "uint16", 1), (1, "uint8", 255), (2, "float32", 1)]
)
def test_other_arrays_are_resized_in_float32_as_torchvision_does(
    name: str, channels: int, dtype: str, scale: float
) -> None:
    rng = np.random.default_rng(0)
    mean, std = rng.uniform(10, 20, channels), rng.uniform(1, 9, channels)
    pixels = rng.uniform(0, 250, (83, 61, channels)).astype(dtype)
    kind = ImageKind(channels, dtype, picture=False)
    how = Preparation(32, kind, mean.tolist(), std.tolist(), name, 0.8)
    tensor = torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1)
    resized = tvf.resize(tensor, [40], InterpolationMode(name), antialias=True)
    shape = (channels, 1, 1)
    expected = tvf.center_crop(resized, [32]).numpy() / scale - mean.reshape(shape)
    np.testing.assert_allclose(
        images_of(how, pixels), expected / std.reshape(shape), rtol=1e-4, atol=1e-4
    )


def test_an_interpolation_that_no_graph_has_says_so() -> None:
    with pytest.raises(ValueError, match=r"unknown interpolation 'nearest'; use one of bilinear"):
        images_of(Preparation(32, interpolation="nearest"), np.zeros((9, 9, 3), np.uint8))


@pytest.mark.parametrize("dtype", NUMBERS)
def test_graphs_of_all_numbers_can_be_timed(
    dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    how = Preparation(32, ImageKind(1, dtype, picture=False), (0,), (1,))
    onnx.save(graph_of(how), tmp_path / "a.onnx")
    monkeypatch.setattr(bench, "_WARM_UP", 0)
    monkeypatch.setattr(bench, "_SECONDS", 0)
    monkeypatch.setattr(sys, "argv", ["bench.py", str(tmp_path / "a.onnx"), "--threads", "1"])
    bench.main()
    assert float(capsys.readouterr().out) > 0


Script = Callable[..., NDArray[np.float32]]


@pytest.fixture
def run_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Script:
    """Softmax of a prepared image by the script, whose network hands it on."""

    def shares(path: Path, kind: ImageKind, ground: str = BLACK) -> NDArray[np.float32]:
        spread = 1.0 if kind.dtype == "uint8" else 1e4
        how = Preparation(8, kind, (0,) * kind.channels, (spread,) * kind.channels, ground=ground)
        graph = graph_of(how)
        helper.set_model_props(graph, {ABOUT: json.dumps({"facts": how.facts})})
        onnx.save(graph, tmp_path / "a.onnx")
        monkeypatch.setattr(sys, "argv", ["predict.py", str(tmp_path / "a.onnx"), str(path)])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(predict_script.__file__, run_name="__main__")
        out, err = capsys.readouterr()
        if ended.value.code:
            raise ValueError(err)
        return np.array([*json.loads(out)["probabilities"].values()], np.float32)

    return shares


DEEP, BYTES = (ImageKind(1, dtype, picture=False) for dtype in ("uint16", "uint8"))


BAD = {"empty.png": b"", "text.jpg": b"no picture", "cut.bmp": b"BM" + bytes(40), "folder": None}


def script_run(script: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(script), *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=script.parent)


@pytest.fixture
def script(tmp_path: Path) -> Path:
    onnx.save(graph_of(Preparation(8, PICTURES, (0,) * 3, (1,) * 3)), tmp_path / "a.onnx")
    path = tmp_path / "predict.py"
    path.write_bytes(Path(predict_script.__file__).read_bytes())
    return path


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_the_script_goes_on_after_a_bad_picture(bad: str, place: int, script: Path) -> None:
    names = ["good.png", "black.png"]
    for level, name in enumerate(names):
        Image.new("L", (9, 9), 9 * level).save(script.parent / name)
    path, content = script.parent / bad, BAD[bad]
    path.mkdir() if content is None else path.write_bytes(content)
    told = script_run(script, "a.onnx", *names[:place], bad, *names[place:])
    assert [json.loads(line)["image"] for line in told.stdout.splitlines()] == names
    assert told.returncode == 3
    (line,) = told.stderr.splitlines()
    assert line.startswith(f"cannot read {bad}: ")


def stored(mode: str, folder: Path) -> Iterator[Path]:
    """Files of a picture in a mode, in the formats that have it; damaged ones of others."""
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (20, 26, 4)).astype(np.uint8))
    options: dict[str, Any] = {}
    if mode == "empty":
        yield write_bytes(folder / "empty.png", b"")
        return
    if mode == "cut":
        for form in ("png", "jpg", "tif", "bmp"):
            noise.convert("RGB").save(path := folder / f"cut.{form}")
            yield write_bytes(path, path.read_bytes()[:-400])
        return
    if mode == "P+transparency":
        picture, options = noise.convert("RGB").convert("P"), {"transparency": 7}
    elif mode == "I;16":
        picture = Image.fromarray(rng.integers(0, 1 << 16, (20, 26)).astype(np.uint16))
    else:
        picture = noise.convert("RGB" if mode == "CMYK" else "RGBA").convert(mode)
    forms = {"CMYK": ["jpg", "tif"], "P+transparency": ["png", "gif"]}
    for form in forms.get(mode, ["png", "tif"]):
        picture.save(path := folder / f"a.{form}", **options)
        yield path


def write_bytes(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


_READ_AS_PICTURES = ("1", "L", "LA", "P", "P+transparency", "RGB", "RGBA", "CMYK")
_MODES = (*_READ_AS_PICTURES, "I;16", "empty", "cut")


@pytest.mark.parametrize("reading", ["", RGB, GREY])
@pytest.mark.parametrize(
    ("mode", "ground"),
    [
        (mode, ground)
        for mode in _MODES
        for ground in (GROUNDS if mode in ("LA", "P+transparency", "RGBA") else GROUNDS[-1:])
    ],
)
def test_trainings_predictions_and_the_script_make_the_same_of_every_mode(
    mode: str, reading: str, ground: str, tmp_path: Path, run_script: Script
) -> None:
    kind = {"": PICTURES, RGB: ImageKind(reading=RGB), GREY: ImageKind(1, "uint8", False, GREY)}[
        reading
    ]
    zeros, ones = (0.0,) * kind.channels, (1.0,) * kind.channels
    how = Preparation(8, kind, zeros, ones, ground=ground)
    network = Network("timm:test_vit", 8, 8 * 8 * kind.channels, kind.channels)
    classifier = Classifier(
        Path("a"), network, lambda images: images.reshape(len(images), -1), how, kind, ground,
        [""] * network.num_classes, False, False,
    )  # fmt: skip
    labels = np.zeros(1, np.int64)
    transform = Augmentation().preparation(8, kind=kind).crop
    for path in stored(mode, tmp_path):
        images = files_below(tmp_path, [path.name], "", ("",), labels, reading)
        vars(images)["kind"] = kind  # that of the others of its set
        (predicted,) = classifier.logits(
            ["a"], lambda _, path=path: read_as(path, kind, ground), 1
        )
        if mode in _READ_AS_PICTURES or (mode == "I;16" and reading == RGB):
            trained = how.normalise(transform(images.on(ground).picture(0))).flatten()
            assert isinstance(predicted, torch.Tensor), predicted
            assert torch.equal(predicted, trained)
            shares = run_script(path, kind, ground)
            np.testing.assert_allclose(shares, trained.softmax(0).numpy(), rtol=1e-5)
            continue
        assert isinstance(predicted, str)
        with pytest.raises(ValueError, match="cannot read image"):
            images.on(ground).picture(0)
        with pytest.raises(ValueError, match="cannot read "):
            run_script(path, kind, ground)


def test_the_script_decodes_what_asvit_does() -> None:
    """It may not import asvit, so it repeats these."""
    assert {*predict_script.FORMATS} == {*FORMATS}
    assert predict_script.MOST_PIXELS == MOST_PIXELS

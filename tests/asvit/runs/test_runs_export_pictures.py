"""Copies that prepare pictures themselves: beside asvit predict, and run without asvit."""

import json
import shutil
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, PngImagePlugin

import asvit
from asvit.core.run_files import PREDICT_SCRIPT
from asvit.data.decoding import read_as
from asvit.data.kinds import GREY, NUMBERS, PICTURES, RGB, ImageKind
from asvit.export.script import script_for
from asvit.networks import Network, WeightsFile
from asvit.runs.exporting import export_network
from tests.asvit.runs.fakes import varied
from tests.asvit.runs.without_asvit import run_script

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
    assert (run / PREDICT_SCRIPT).read_text() == script_for(PICTURES)
    check_script(run, pictures)


def test_the_script_cuts_nothing_to_8_bits(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "deep.png"
    Image.fromarray(np.full((50, 40), 3000, np.uint16)).save(path)
    ended = run_script(run, "model.onnx", [path])
    assert (ended.returncode, ended.stdout) == (3, "")
    assert ended.stderr == (
        f"cannot read {path}: its pixels are not 8-bit numbers; this model takes those\n"
    )
    (refused,) = asvit.predict(run, [path])
    assert "it is 1 channel of uint16, not 8-bit RGB" in refused.reason


def files_of_odd_bits(folder: Path) -> list[Path]:
    """Files with much text, and with 16 bits a colour or a pixel."""
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 8, 3), np.uint8))
    profile = bytes(4 << 20)
    picture.save(folder / "profile.png", icc_profile=profile)
    for size in (4 << 20, 65 << 20):  # Pillow reads up to 64 MB
        text = PngImagePlugin.PngInfo()
        text.add_text("drawing", "x" * size, zip=True)
        picture.save(folder / f"text{size >> 20}.png", pnginfo=text)
    for bands in ("RGB", "L"):
        raw = picture.convert(bands).tobytes("raw", bands)
        for deep in (1, 2):
            picture.convert(bands).save(folder / f"{bands}{deep}.sgi", bpc=deep)
            kind = 6 if bands == "RGB" else 5
            head = f"P{kind} 8 9 {(1 << 8 * deep) - 1}\n".encode()
            numbers = np.frombuffer(raw, np.uint8).astype(f">u{deep}") * (255 * deep - 254)
            (folder / f"{bands}{deep}.pnm").write_bytes(head + numbers.tobytes())
    # In one file of SGI each row of 16 bits is compressed: so many numbers, and the end.
    row = np.array([0x80 | 8, *range(100, 900, 100), 0], ">u2").tobytes()
    head = struct.pack(">hBBHHHHll", 474, 1, 2, 2, 8, 9, 1, 0, 65535).ljust(512, b"\0")
    starts = [512 + 8 * 9 + len(row) * at for at in range(9)]
    table = struct.pack(">18l", *starts, *[len(row)] * 9)
    (folder / "packed.sgi").write_bytes(head + table + row * 9)
    pixels = np.arange(72, dtype="<u2").tobytes()  # of 16 bits: 5 of red, 6 of green, 5 of blue
    sizes = struct.pack("<IiiHHIIiiII", 40, 8, 9, 1, 16, 3, len(pixels), 0, 0, 0, 0)
    masks = struct.pack("<III", 0xF800, 0x07E0, 0x001F)
    head = b"BM" + struct.pack("<IHHI", 66 + len(pixels), 0, 0, 66)
    (folder / "565.bmp").write_bytes(head + sizes + masks + pixels)
    return sorted(folder.iterdir())


@pytest.mark.parametrize("reading", ["", GREY, RGB])
def test_the_script_reads_what_predict_reads(
    reading: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = ImageKind.of(f"uint8 {reading}" if reading else "", 1 if reading == GREY else 3)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
    script: dict[str, Any] = {"ground": "black"}
    exec(script_for(kind).partition("def in_a_line")[0], script)
    read = set()
    for path in files_of_odd_bits(tmp_path):
        try:
            expected = np.asarray(read_as(path, kind))
        except ValueError:
            with pytest.raises(ValueError, match=r"8-bit numbers|text chunks|TEXT_CHUNK"):
                script["read"](path)
        else:
            read.add(path.name)
            np.testing.assert_array_equal(script["read"](path), expected)
    cut = {"RGB2.pnm", "L2.pnm", "RGB2.sgi", "L2.sgi", "packed.sgi"} if reading != RGB else set()
    assert read == {path.name for path in tmp_path.iterdir()} - {"text65.png"} - cut


def export_of(kind: ImageKind, folder: Path) -> None:
    """An ONNX file with its script, of a network for images of a kind."""
    torch.manual_seed(0)
    network = replace(NETWORK, in_chans=kind.channels)
    model = varied(network, std=0.2)
    scale = 1 if kind.dtype == "uint16" else 1e-4
    spread = {"mean": [20_000.0 * scale] * kind.channels, "std": [5_000.0 * scale] * kind.channels}
    facts = {**FACTS, **spread, "pixels": kind.stored}
    WeightsFile(network, model.state_dict(), CLASSES, facts).write(folder / "model.safetensors")
    export_network(weights=str(folder), to="onnx", with_preprocessing=True)


def kind_and_files(name: str, folder: Path) -> tuple[ImageKind, list[Path]]:
    """A kind of images other than RGB pictures, and files of them."""
    rng = np.random.default_rng(0)
    if name == "5 bands":
        kind = ImageKind(5, "uint16", picture=False)
        for place in range(4):
            pixels = rng.integers(0, 40_000, (40 + 9 * place, 53, 5)).astype(np.uint16)
            np.save(folder / f"{place}.npy", pixels)
    elif name == "16-bit grey":
        kind = ImageKind(1, "uint16", picture=False)
        for place in range(4):
            pixels = rng.integers(0, 40_000, (40 + 9 * place, 53)).astype(np.uint16)
            Image.fromarray(pixels).save(folder / f"{place}.png")
    else:
        kind = ImageKind(1, "uint8", picture=False, reading=GREY)
        for place in range(4):
            pixels = rng.integers(0, 255, (40 + 9 * place, 53, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{place}.png")
    return kind, sorted(folder.iterdir())


@pytest.mark.parametrize("name", ["5 bands", "16-bit grey", "pictures as grey"])
def test_the_script_of_other_kinds(name: str, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    kind, images = kind_and_files(name, tmp_path / "images")
    export_of(kind, tmp_path)
    assert (tmp_path / PREDICT_SCRIPT).read_text() == script_for(kind)
    check_script(tmp_path, images)
    weights, graph = (
        [one.guesses for one in asvit.predict(path, images)]
        for path in (tmp_path, tmp_path / "model.onnx")
    )
    for one, other in zip(weights, graph, strict=True):
        told, known = ({guess.label: guess.probability for guess in side} for side in (one, other))
        assert told == pytest.approx(known, abs=1e-5)


def test_the_script_refuses_what_pillow_changes(tmp_path: Path) -> None:
    four = np.random.default_rng(0).integers(0, 255, (40, 53, 4)).astype(np.uint8)
    images = tmp_path / "images"
    images.mkdir()
    good = images / "alpha.tif"
    tifffile.imwrite(good, four, photometric="rgb", extrasamples=["unassalpha"])
    for name, extra in (("associated", "assocalpha"), ("infrared", "unspecified")):
        tifffile.imwrite(images / f"{name}.tif", four, photometric="rgb", extrasamples=[extra])
    Image.fromarray(four, "CMYK").save(images / "print.jpg")
    np.save(images / "three.npy", four[..., :3])
    tifffile.imwrite(images / "pages.tif", np.stack([four] * 3), photometric="rgb", metadata=None)
    export_of(ImageKind(4, "uint8", picture=False), tmp_path)
    check_script(tmp_path, [good])
    for path in {*images.iterdir()} - {good}:
        ended = run_script(tmp_path, "model.onnx", [path])
        assert (ended.returncode, ended.stdout) == (3, "")
        message = (
            f"cannot read {path}: it is not read as 4 channel(s) of numbers; save it as NPY\n"
        )
        assert ended.stderr == message


def test_the_file_names_the_classes_without_asvit(run: Path) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(run / "model.onnx")
    assert json.loads(session.get_modelmeta().custom_metadata_map["classes"]) == list(CLASSES)
    (image,) = session.get_inputs()
    assert (image.name, image.type) == ("image", "tensor(uint8)")
    assert image.shape == ["height", "width", 3]
    assert [out.name for out in session.get_outputs()] == ["logits", "probabilities"]


KINDS = (
    *(PICTURES, ImageKind(reading=RGB), ImageKind(1, picture=False, reading=GREY)),
    *(ImageKind(1, dtype, picture=False) for dtype in NUMBERS),
)


@pytest.mark.parametrize("kind", KINDS)
def test_the_script_is_short(kind: ImageKind) -> None:
    script = script_for(kind)
    assert len([line for line in script.splitlines() if line.strip()]) <= 62
    compile(script, PREDICT_SCRIPT, "exec")


def test_the_code_on_the_card_runs(run: Path, tmp_path: Path) -> None:
    card = (run / "model.md").read_text()
    assert "[height, width, 3] of any size" in card
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


def test_another_predict_py_is_not_replaced(run: Path, tmp_path: Path) -> None:
    own = tmp_path / PREDICT_SCRIPT
    own.write_text("print('mine')\n")
    given = {"weights": str(run), "to": "onnx", "out": str(tmp_path / "a.onnx")}
    with pytest.raises(FileExistsError, match=r"predict.py' is not the script of such copies"):
        export_network(**given, with_preprocessing=True)
    assert own.read_text() == "print('mine')\n"
    assert [path.name for path in tmp_path.iterdir()] == [PREDICT_SCRIPT]


def test_a_script_goes_with_the_last_copy_that_it_runs(run: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(run, tmp_path / "run")
    other = shutil.copy(folder / "model.onnx", folder / "other.onnx")
    export_network(weights=str(folder), to="onnx", force=True)
    assert (folder / PREDICT_SCRIPT).exists()  # it runs the other copy
    Path(other).unlink()
    export_network(weights=str(folder), to="onnx", force=True)
    assert not (folder / PREDICT_SCRIPT).exists()


def test_the_script_of_copies_for_other_images_is_not_replaced(tmp_path: Path) -> None:
    network = replace(NETWORK, in_chans=5)
    facts = {"mean": [0.0] * 5, "std": [1.0] * 5, "pixels": "uint16"}
    weights = tmp_path / "model.safetensors"
    WeightsFile(network, network.build().state_dict(), CLASSES, facts).write(weights)
    other = tmp_path / PREDICT_SCRIPT
    other.write_text(script_for(PICTURES))
    with pytest.raises(FileExistsError, match=r"predict.py' is not the script of such copies"):
        export_network(weights=str(weights), to="onnx", with_preprocessing=True)
    assert other.read_text() == script_for(PICTURES)


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


def test_a_network_without_classes_gives_no_probabilities(tmp_path: Path) -> None:
    options = {"to": "onnx", "random": True, "num_classes": 0, "with_preprocessing": True}
    with pytest.raises(ValueError, match="gives probabilities of classes, and this network has n"):
        export_network(NETWORK.architecture, **options, image_size=32, out=f"{tmp_path}/a.onnx")
    assert not [*tmp_path.iterdir()]

"""Classes of pictures, beside the pass over validation images that a training makes."""

import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import asvit
from asvit.data import open_dataset
from asvit.data.preparation import Preparation
from asvit.export.exporting import export_network
from asvit.networks import Network, WeightsFile
from tests.asvit.runs.fakes import varied
from tests.campaigns import forked

CLASSES = ("cat", "dog", "ox")
NETWORK = Network("shift:1,1,1,1|1|8|1|16", image_size=32, num_classes=3)
FACTS = {
    "mean": [0.4, 0.5, 0.6],
    "std": [0.1, 0.2, 0.3],
    "interpolation": "bilinear",
    "crop_pct": 0.8,
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose network has other outputs for every picture, and copies of the network."""
    torch.manual_seed(0)
    model = varied(NETWORK, std=0.3)
    folder = tmp_path_factory.mktemp("exported")
    (folder / "run").mkdir()
    content = WeightsFile(NETWORK, model.state_dict(), CLASSES, FACTS)
    content.write(folder / "run" / "model.safetensors")
    for form in ("onnx", "safetensors", "timm"):
        out = folder / ("copy" if form == "timm" else f"copy.{form}")
        # Processes that are not forked read other copies in tests/asvit/export.
        with nullcontext() if form == "timm" else forked.modules():
            export_network(weights=str(folder / "run"), to=form, out=str(out))
    return folder


@pytest.fixture
def run(exported: Path, tmp_path: Path) -> Path:
    """The run folder in the working folder, with copies of its network beside it."""
    shutil.copytree(exported, tmp_path, dirs_exist_ok=True)
    return tmp_path / "run"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Five pictures of different sizes and kinds, two of them in a folder inside."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "pictures"
    (folder / "inner").mkdir(parents=True)
    for place, (name, shape) in enumerate(
        {
            "a.png": (40, 50, 3), "b.jpg": (64, 32), "c.webp": (33, 33, 4),
            "inner/d.png": (90, 31, 3), "inner/e.bmp": (32, 32, 3),
        }.items()
    ):  # fmt: skip
        pixels = rng.integers(0, 50 * (place + 1), shape).astype(np.uint8)
        Image.fromarray(pixels).save(folder / name)
    return folder


def test_guesses_are_those_of_a_pass_over_validation_images(run: Path, pictures: Path) -> None:
    found = asvit.predict(run, [pictures / "inner"], top=3, batch_size=1, device="cpu")
    prepare = Preparation.of(32, 3, FACTS)
    images = open_dataset(str(pictures / "inner"))
    inputs = torch.stack([prepare(images.picture(place)) for place in range(2)])
    with torch.no_grad():
        known = WeightsFile.read(run / "model.safetensors").load()(inputs).softmax(1)
    assert [Path(one.image).name for one in found] == ["d.png", "e.bmp"]
    for one, row in zip(found, known, strict=True):
        told = {guess.label: guess.probability for guess in one.guesses}
        assert [told[label] for label in CLASSES] == pytest.approx(row.tolist(), rel=1e-5)
        assert list(told.values()) == sorted(told.values(), reverse=True)
    assert found[0].guesses != found[1].guesses


@pytest.mark.parametrize("out", ["copy.onnx", "copy"])
def test_a_copy_tells_the_same(out: str, run: Path, pictures: Path) -> None:
    there, here = (asvit.predict(one, [pictures]) for one in (run, out))
    assert len(here) == 5
    for one, other in zip(here, there, strict=True):
        assert one.image == other.image
        told, known = ({g.label: g.probability for g in side.guesses} for side in (one, other))
        assert told == pytest.approx(known, abs=1e-4)


def test_a_picture_that_cannot_be_read_hides_no_other(run: Path, pictures: Path) -> None:
    whole = (pictures / "a.png").read_bytes()
    (pictures / "b.jpg").write_bytes(whole[: len(whole) // 2])
    paths = [pictures / name for name in ("a.png", "b.jpg", "c.webp")]
    first, bad, last = asvit.predict(run, paths, top=1)
    assert [len(one.guesses) for one in (first, bad, last)] == [1, 0, 1]
    assert "b.jpg" in bad.reason
    for one, path in ((first, paths[0]), (last, paths[2])):
        (alone,) = asvit.predict(run, [path], top=1)
        assert one.guesses[0].label == alone.guesses[0].label
        assert one.guesses[0].probability == pytest.approx(alone.guesses[0].probability)


def no_program(folder: Path) -> Path:
    path = folder / "a.pt2"
    path.write_bytes(b"")
    return path


def no_graph(folder: Path) -> Path:
    path = folder / "a.onnx"
    path.write_bytes(b"no graph")
    return path


def nameless(folder: Path) -> Path:
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, path := folder / "a.safetensors")
    return path


def headless(folder: Path) -> Path:
    network = Network(NETWORK.architecture, image_size=32, num_classes=0)
    WeightsFile(network, network.build().state_dict()).write(path := folder / "b.safetensors")
    return path


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (no_program, "is a torch.export program; give the weights"),
        (no_graph, "is no ONNX graph"),
        (nameless, "but not which network they are of"),
        (headless, "was built without classes"),
    ],
)
def test_what_no_network_can_be_read_from(
    make: Callable[[Path], Path], words: str, tmp_path: Path, pictures: Path
) -> None:
    with pytest.raises(ValueError, match=words):
        asvit.predict(make(tmp_path), [pictures])


def test_what_is_no_picture(run: Path, tmp_path: Path) -> None:
    assert asvit.predict(run, []) == []
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"no images in '.*empty'"):
        asvit.predict(run, [tmp_path / "empty"])
    with pytest.raises(FileNotFoundError, match=r"no picture '.*none\.jpg'"):
        asvit.predict(run, [tmp_path / "none.jpg"])
    for wrong in ({"top": 0}, {"batch_size": 0}):
        with pytest.raises(ValueError, match="must be at least 1, got 0"):
            asvit.predict(run, [], **wrong)

"""Runs on images of any channels and numbers: every kind of run, its files, and bad input."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import asvit
from asvit.data import open_dataset, open_training_sets
from asvit.data.statistics import channel_statistics
from asvit.designs.result import DesignResult
from asvit.export.exporting import export_network
from asvit.networks import Network, WeightsFile
from asvit.runs.training import run_training
from asvit.spaces import SPACES, stage_table
from asvit.training.metrics import read_predictions
from proxies import count
from tests.asvit.data.array_sets import make_set
from tests.campaigns import forked
from tests.campaigns.kill_runs import shorten_designs

pytestmark = pytest.mark.usefixtures("forked_modules")

ARCH = "4,2,2|4,1,2|4,1,2|4,1,2|16,8"
#: Traced in less time.
EXPORTED = "shift:1,1,1,1|1|8|1|16"
#: Channels, numbers and format of sets.
SETS = [
    (1, "uint16", "png"),
    (2, "float32", "npy"),
    (5, "uint16", "bands"),
    (13, "int16", "bands"),
]
TINY: dict[str, Any] = {
    "recipe": "small", "image_size": 32, "epochs": 2, "batch_size": 4, "device": "cpu",
}  # fmt: skip


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of 5 channels of 16 bits."""
    return make_set(tmp_path_factory.mktemp("five") / "set", 5)


@pytest.fixture(scope="module")
def trained(five: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training on it."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    run_training(EXPORTED, data=str(five), out=folder, **TINY)
    return folder


def logits(folder: Path, data: str) -> tuple[torch.Tensor, list[str]]:
    """Of the trained network for the images of a set, prepared by hand; and their files."""
    file = WeightsFile.read(folder / "model.safetensors")
    images, facts = open_dataset(data), file.facts
    mean, std = (np.array(facts[name])[:, None, None] for name in ("mean", "std"))
    batch = [np.moveaxis(np.float64(images.picture(n)), -1, 0) for n in range(len(images))]
    pixels = torch.from_numpy((np.stack(batch) - mean) / std).float()
    with torch.no_grad():
        return file.load()(pixels), [str(path) for path in images.files]


@pytest.mark.parametrize(("channels", "dtype", "form"), SETS)
def test_a_training_and_what_it_stores(
    tmp_path: Path, channels: int, dtype: str, form: str
) -> None:
    data = str(make_set(tmp_path / "set", channels, dtype, form=form))
    result = run_training(ARCH, data=data, out=tmp_path / "run", crop_pct=1.0, **TINY)
    assert result.network == Network(ARCH, 32, 2, channels)
    assert result.params == asvit.cost(ARCH, 32, 2, in_chans=channels).params
    file = WeightsFile.read(tmp_path / "run" / "model.safetensors")
    assert (file.network.in_chans, file.facts["pixels"]) == (channels, dtype)
    own = channel_statistics(open_training_sets(data, image_size=32, seed=0).train)
    assert (tuple(file.facts["mean"]), tuple(file.facts["std"])) == (own.mean, own.std)
    expected, paths = logits(tmp_path / "run", data)
    found = asvit.predict(tmp_path / "run", paths, device="cpu")
    for row, one in zip(expected.softmax(1), found, strict=True):
        by_label = {guess.label: guess.probability for guess in one.guesses}
        assert [by_label[name] for name in file.classes] == pytest.approx(row.tolist(), abs=1e-4)
    predictions = read_predictions(tmp_path / "run" / "predictions.json")
    assert predictions.shown.startswith("pictures show channel")


@pytest.mark.parametrize(
    ("form", "out"),
    [
        ("onnx", "a.onnx"),
        ("timm", "a"),
        pytest.param("pt2", "a.pt2", marks=pytest.mark.nightly),
        pytest.param("safetensors", "a.safetensors", marks=pytest.mark.nightly),
    ],
)
def test_copies_have_the_channels_and_how_images_are_prepared(
    five: Path, trained: Path, tmp_path: Path, form: str, out: str
) -> None:
    exported = export_network(weights=str(trained), to=form, out=str(tmp_path / out))
    assert exported.cost == count(exported.content.load(), 32, 5)
    card = exported.card
    told = card.read_text()
    assert "* shape: `[batch, 5, 32, 32]`\n* pixels: 5 channels of uint16, as files have" in told
    assert "(1, 5, 32, 32)" in exported.loading_code("x")
    if form == "pt2":
        return
    paths = open_dataset(str(five)).files
    copy = tmp_path / out if form != "timm" else tmp_path / out / "model.safetensors"
    for one, other in zip(asvit.predict(trained, paths), asvit.predict(copy, paths), strict=True):
        pairs = zip(one.guesses, other.guesses, strict=True)
        assert all(a.probability == pytest.approx(b.probability, abs=1e-4) for a, b in pairs)


@pytest.mark.parametrize(
    "architecture",
    ["timm:resnet10t", pytest.param("shift:1,1,1,1|1|8|1|16", marks=pytest.mark.nightly)],
)
def test_copies_for_timm_keep_the_first_convolution(tmp_path: Path, architecture: str) -> None:
    """timm would adapt it from three channels, and drop it where it cannot."""
    network = Network(architecture, 32, 3, 5)
    model = network.build()
    facts = {"mean": [100.0] * 5, "std": [10.0] * 5, "pixels": "uint16"}
    WeightsFile(network, model.state_dict(), facts=facts).write(tmp_path / "a.safetensors")
    copy = export_network(
        weights=str(tmp_path / "a.safetensors"), to="timm", out=str(tmp_path / "t")
    )
    assert all(difference.absolute < 1e-5 for difference in copy.differences)


def test_weights_of_other_channels_are_refused(trained: Path, tmp_path: Path) -> None:
    data = str(make_set(tmp_path / "set", 2))
    for more in ({"weights": str(trained)}, {"weights": str(trained), "new_head": True}):
        with pytest.raises(ValueError, match="do not fit the network"):
            run_training(EXPORTED, data=data, out=tmp_path / "run", **TINY, **more)
    assert not (tmp_path / "run" / "checkpoint.safetensors").exists()


def test_a_test_reads_as_the_training_did(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for label in ("a", "b"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(6):
            pixels = rng.integers(0, 256, (36, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / f"photos/{label}/{number}.png")
    data = str(tmp_path / "photos")
    run_training(ARCH, data=f"{data}:grey", out=tmp_path / "run", **TINY)
    plain, grey = (
        asvit.test(text, weights=str(tmp_path / "run"), device="cpu")
        for text in (data, f"{data}:grey")
    )
    assert plain.answers == grey.answers
    with pytest.raises(ValueError, match="has images of 8-bit RGB"):
        asvit.test(f"{data}:rgb", weights=str(tmp_path / "run"), device="cpu")


# Measures, searches, scalings.


# Networks.


@pytest.mark.parametrize(
    "channels", [5, *(pytest.param(count, marks=pytest.mark.nightly) for count in (1, 2, 13))]
)
@pytest.mark.parametrize("space", SPACES)
def test_costs_of_networks_are_exact(space: str, channels: int) -> None:
    loaded = SPACES[space]
    arch = loaded.sample(np.random.default_rng(channels))
    network = loaded.build(arch, image_size=64, num_classes=3, in_chans=channels).eval()
    assert network(torch.zeros(2, channels, 64, 64)).shape == (2, 3)
    size = asvit.cost(arch, 64, 3, in_chans=channels)
    assert size == count(network, 64, channels)
    rows = stage_table(str(arch), image_size=64, num_classes=3, in_chans=channels)
    assert sum(row.macs for row in rows) == size.macs


def test_networks_that_take_three_channels_alone_are_refused_in_a_line() -> None:
    from asvit.spaces import PlainSpace

    class Small(PlainSpace):
        name, description, paper, prefix = "small", "x", "x", "small:"
        dimensions = {"width": (2, 4)}  # noqa: RUF012

        def network(self, choices: Any, *, image_size: int, num_classes: int, drop_path: float,
                    drop: float) -> torch.nn.Module:  # fmt: skip
            return torch.nn.Identity()

    space = Small()
    assert space.build("small:2")
    with pytest.raises(
        ValueError, match=r"^space 'small' has networks for images of 3 channels alone, not of 5$"
    ):
        space.build("small:2", in_chans=5)
    with pytest.raises(ValueError, match="in_chans must be at least 1, got 0"):
        Network(ARCH, in_chans=0)
    with pytest.raises(ValueError, match="in_chans must be at most 64, got 65"):
        Network(ARCH, in_chans=65)


# Designs.


# Bad input: one line, before anything is spent, nothing lost.


@pytest.mark.nightly
def test_a_design_counts_channels_and_shows_pictures(five: Path, tmp_path: Path) -> None:
    words = ["design", "--data", str(five), "--out", "run", "--max-params", "40K",
             "--trainings", "5", "--image-size", "32", "--device", "cpu",
             "--space", "resnet"]  # fmt: skip
    assert forked.run(forked.command, words, tmp_path, prepare=shorten_designs) == 0
    out = tmp_path / "run"
    result = DesignResult.read(out / "result.json")
    assert (result.channels, result.pixels) == (5, "uint16")
    size = asvit.cost(result.architecture, 32, 2, in_chans=5)
    assert (result.params, result.macs) == (size.params, size.macs)
    assert result.params <= 40_000
    assert set(result.exports) == {"timm", "model.onnx", "model.safetensors"}
    page = (out / "report.html").read_text()
    assert "pictures show channels 1, 2 and 3 as red, green and blue" in page
    files = [str(path) for path in open_dataset(str(five)).files[:3]]
    by_each = [
        [one.guesses[0].label for one in asvit.predict(out / name, files, device="cpu")]
        for name in (".", "model.onnx", "timm/model.safetensors")
    ]
    assert by_each[0] == by_each[1] == by_each[2]
    printed = forked.printed(tmp_path, forked.STDOUT)
    assert "32 px, 5 channels of uint16, 2 classes" in printed

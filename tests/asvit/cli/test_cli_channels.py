"""Commands on images of other channels: what they say, and refuse in one line."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from asvit.spaces import cost
from tests.asvit.cli.commands import check_refused, run, strict
from tests.asvit.data.array_sets import make_set

ARCH = "4,2,2|4,1,2|4,1,2|4,1,2|16,8"


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_set(tmp_path_factory.mktemp("cli") / "set", 5)


def test_cost_counts_channels(five: Path) -> None:
    expected = cost(ARCH, 32, 2, in_chans=5)
    for words in (["--channels", 5, "--classes", 2], ["--data", five]):
        told = run("cost", ARCH, "timm:resnet10t", "--image-size", 32, *words, "--json")
        one, other = strict(told.stdout)["architectures"]
        assert (one["params"], one["macs"], one["channels"]) == (
            expected.params,
            expected.macs,
            5,
        )
        assert sum(part["macs"] for part in one["parts"]) == expected.macs
        assert sum(part["params"] for part in other["parts"]) == other["params"]
    shown = run("cost", ARCH, "--image-size", 32, "--channels", 5, "--classes", 2)
    assert f"{expected.params:,}" in shown.stdout
    assert "32 px, 5 channels, 2 classes" in shown.stdout
    grey = run("cost", ARCH, "--image-size", 32, "--channels", 1)
    assert "32 px, 1 channel, 1000 classes" in grey.stdout
    for wrong in (0, 65):
        refused = run("cost", ARCH, "--channels", wrong)
        assert (refused.exit_code, refused.stdout) == (2, "")
        assert "--channels" in refused.stderr.splitlines()[-1]


def test_cost_has_the_channels_of_a_training(five: Path, tmp_path: Path) -> None:
    words = ["train", ARCH, "--data", five, "--image-size", 32, "--recipe", "small", "--epochs", 1]
    trained = run(*words, "--out", tmp_path / "run", "--device", "cpu", "--json")
    assert trained.exit_code == 0, trained.stderr
    network = strict(trained.stdout)["network"]
    assert (network["in_chans"], network["num_classes"]) == (5, 2)
    told = strict(run("cost", tmp_path / "run", "--json").stdout)["architectures"][0]
    assert (told["channels"], told["image_size"], told["classes"]) == (5, 32, 2)
    assert told["params"] == strict(trained.stdout)["params"]
    about = (tmp_path / "run" / "result.json").read_text()
    assert json.loads(about)["network"]["in_chans"] == 5
    assert (tmp_path / "run" / "report.html").read_text().count("pictures show channels 1, 2") <= 1


def test_cost_has_the_channels_of_a_scaling(five: Path, tmp_path: Path) -> None:
    expected, data = cost(ARCH, 32, 2, in_chans=5), shutil.copytree(five, tmp_path / "five")
    budget = f"{expected.params / 1000}K"
    words = ["scale", ARCH, "--budget", budget, "--data", data, "--count-size", 32]
    small = ["--image-size", 32, "--images", 2, "--points", 3, "--repeats", 1, "--device", "cpu"]
    grown = run(*words, *small, "--out", tmp_path / "run")
    assert grown.exit_code == 0, grown.stderr
    shutil.rmtree(data)
    (size,) = strict(run("cost", tmp_path / "run", "--json").stdout)["architectures"]
    assert (size["params"], size["macs"]) == (expected.params, expected.macs)
    assert size["channels"] == 5


@pytest.mark.parametrize("command", ["train", "search", "score", "design", "cost"])
def test_mixed_images_are_refused_in_a_line(command: str, tmp_path: Path) -> None:
    make_set(tmp_path / "set", 2)
    make_set(tmp_path / "set" / "class2", 5, classes=1)
    words = {
        "train": ["train", ARCH, "--image-size", 32, "--out", "run"],
        "search": ["search", "--image-size", 32, "--steps", 1, "--out", "run"],
        "score": ["score", ARCH, "--image-size", 32, "--images", 2],
        "design": ["design", "--max-params", "100K", "--out", "run"],
        "cost": ["cost", ARCH],
    }[command]
    result = run(*words, "--data", tmp_path / "set")
    check_refused(result, 3, "mixes kinds of images: ")
    assert "(2 channels of uint16) and " in result.stderr
    assert not (tmp_path / "run" / "result.json").exists()


def test_scores_of_noise_in_a_file_are_refused_in_a_line(tmp_path: Path) -> None:
    folder = make_set(tmp_path / "set", 2, "float32", form="npy", each=1)
    np.save(folder / "class0" / "000.npy", np.full((32, 32, 2), np.nan, np.float32))
    words = ["score", ARCH, "--image-size", 32, "--images", 2, "--data", folder, "--quiet"]
    check_refused(run(*words), 3, "2048 of its numbers are NaN or infinite, some in channel 1")


def test_the_list_of_images_names_readings() -> None:
    listing = run("list", "data", "--json").stdout
    for name in ("FOLDER:grey", "FOLDER:rgb"):
        assert name in listing

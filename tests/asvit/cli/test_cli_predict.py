"""``asvit predict``: tables, JSON, and how it ends where a picture cannot be read."""

import json
from pathlib import Path

import pytest
from PIL import Image

from asvit.networks import Network, WeightsFile
from tests.asvit.cli.commands import run

NETWORK = Network("shift:1,1,1,1|1|8|1|16", image_size=32, num_classes=3)


@pytest.fixture(autouse=True)
def _files(tmp_path: Path) -> None:
    weights = NETWORK.build().state_dict()
    WeightsFile(NETWORK, weights, ("cat", "dog", "ox")).write(tmp_path / "model.safetensors")
    for name, colour in (("red.png", (255, 0, 0)), ("blue.png", (0, 0, 255))):
        Image.new("RGB", (40, 50), colour).save(tmp_path / name)


def test_a_table_and_json_say_the_same() -> None:
    shown = run("predict", "red.png", "blue.png", "--weights", "model.safetensors", "--top", "2")
    assert shown.exit_code == 0, shown.stderr
    lines = [line for line in shown.stdout.splitlines() if "%" in line]
    assert [line.split()[0] for line in lines[::2]] == ["red.png", "blue.png"]
    told = run("predict", ".", "--weights", "model.safetensors", "--top", "2", "--json")
    images = json.loads(told.stdout, parse_constant=pytest.fail)["images"]
    assert [one["image"] for one in images] == ["blue.png", "red.png"]
    guesses = [guess for one in reversed(images) for guess in one["guesses"]]
    for line, guess in zip(lines, guesses, strict=True):
        assert f" {guess['label']} " in line
        assert f"{guess['probability']:.1%}" in line


def test_every_picture_that_cannot_be_read_is_named() -> None:
    for name in ("bad.png", "worse.png", "worst.png"):
        Path(name).write_text("no picture")
    names = ("bad.png", "red.png", "worse.png", "blue.png", "worst.png")
    result = run("predict", *names, "--weights", "model.safetensors", "--top", "1")
    assert result.exit_code == 3
    lines = result.stderr.splitlines()
    assert [line.partition("'")[2].partition("'")[0] for line in lines] == [
        "bad.png",
        "worse.png",
        "worst.png",
    ]
    assert lines[-1].endswith("(3 of 5 pictures)")
    assert [name in result.stdout for name in names] == [False, True, False, True, False]

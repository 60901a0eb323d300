"""``asvit predict``: tables, JSON, and how it ends where a picture cannot be read."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from PIL import Image

from asvit.cli import predict as cli
from asvit.networks import Network, WeightsFile
from asvit.runs import predicting
from asvit.runs.predicting import Guess, PicturePrediction
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


def test_of_many_pictures_some_are_told_before_the_next_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cli, "_PART", 2)
    told, tables = list[str](), list[list[str]]()

    def found(*_: object, **__: object) -> Iterator[PicturePrediction]:
        for place in range(5):
            told.append(f"{place}.png")
            yield PicturePrediction(told[-1], (Guess("cat", 0.5),))

    def show(part: Sequence[PicturePrediction]) -> None:
        tables.append([prediction.image for prediction in part])
        assert tables[-1][-1] == told[-1]

    monkeypatch.setattr(predicting, "predictions", found)
    assert run("predict", ".", "--weights", "x").stdout.count("probability") == 3
    monkeypatch.setattr(cli, "_show", show)
    run("predict", ".", "--weights", "x")
    assert tables == [["0.png", "1.png"], ["2.png", "3.png"], ["4.png"]]
    images = json.loads(run("predict", ".", "--weights", "x", "--json").stdout)["images"]
    assert len(images) == 5


def test_a_picture_that_cannot_be_read_is_told_after_the_others() -> None:
    Path("bad.png").write_text("no picture")
    result = run("predict", "bad.png", "red.png", "--weights", "model.safetensors", "--json")
    assert result.exit_code == 3
    assert "cannot read image 'bad.png'" in result.stderr
    bad, good = json.loads(result.stdout)["images"]
    assert (bad["guesses"], good["reason"], len(good["guesses"])) == ([], "", 3)
    assert "bad.png" in bad["reason"]


def test_weights_have_to_be_given() -> None:
    result = run("predict", "red.png")
    assert result.exit_code == 2
    assert "--weights" in result.stderr


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


def test_names_of_pictures_forge_no_line(tmp_path: Path) -> None:
    (tmp_path / "red.png").rename(tmp_path / "red\nasvit: all is well.png")
    (tmp_path / "bad\nasvit: all is well.png").write_text("no picture")
    told = run("predict", ".", "--weights", "model.safetensors")
    drawn = run("maps", "timm:vit_tiny_patch16_224(depth=1)", *tmp_path.glob("red*.png"))
    assert (told.exit_code, drawn.exit_code) == (3, 0), told.stderr + drawn.stderr
    for line in f"{told.stdout}{told.stderr}{drawn.stdout}{drawn.stderr}".splitlines():
        assert not line.startswith("asvit: all")
    assert "red\\nasvit: all is well" in told.stdout
    assert "red\\nasvit: all is well" in drawn.stdout

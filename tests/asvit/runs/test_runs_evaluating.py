"""Tests of classifiers: of every form of weights, on folders that suit and others."""

import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from timm import get_pretrained_cfg
from timm.data import create_transform, resolve_data_config

import asvit
from asvit.core.answers import read_answers
from asvit.core.results import NO_FOLDER
from asvit.data import Preparation
from asvit.data.base import file_digest
from asvit.export.exporting import export_network
from asvit.networks import Network, WeightsFile
from asvit.networks.opening import timm_preparation
from asvit.report.evaluation import details, pictures
from asvit.training.metrics import read_predictions
from asvit.use.result import EvaluationResult
from tests.asvit.runs.fakes import varied

CLASSES = ("cat", "dog", "ox")
NETWORK = Network("shift:1,1,1,1|1|8|1|16", image_size=32, num_classes=3)
COLOURS = {"cat": (220, 30, 30), "dog": (30, 220, 30), "ox": (30, 30, 220)}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, forked_modules: object) -> Path:
    """Weights that take pictures for different classes, copies of them, and pictures."""
    torch.manual_seed(15)  # takes pictures for several classes
    model = varied(NETWORK, std=0.3)
    folder = tmp_path_factory.mktemp("made")
    (folder / "run").mkdir()
    WeightsFile(NETWORK, model.state_dict(), CLASSES).write(folder / "run/model.safetensors")
    for form in ("onnx", "timm"):
        out = folder / ("copy" if form == "timm" else f"copy.{form}")
        export_network(weights=str(folder / "run"), to=form, out=str(out))
    torch.save(model.state_dict(), folder / "plain.pt")
    rng = np.random.default_rng(0)
    for label, colour in COLOURS.items():
        (folder / "photos" / label).mkdir(parents=True)
        for number in range(4):
            pixels = np.clip(colour + rng.normal(0, 60, (40 + number, 36, 3)), 0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"photos/{label}/{number}.png")
    return folder


@pytest.fixture(autouse=True)
def _here(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)


def content(result: EvaluationResult) -> dict[str, Any]:
    left_out = ("settings", "weights", "command", "wall_seconds")
    return {name: value for name, value in result.to_json().items() if name not in left_out}


def test_it_says_what_single_predictions_say() -> None:
    result = asvit.test("photos", weights="run", out="tested", device="cpu")
    told = asvit.predict("run", ["photos"], top=3, device="cpu")
    assert [Path(one.image).parts[-2:] for one in told] == [
        Path(answer.image).parts for answer in result.answers
    ]
    for one, answer in zip(told, result.answers, strict=True):
        assert answer.label == Path(one.image).parent.name
        assert answer.predicted == one.guesses[0].label
        assert answer.probability == pytest.approx(one.guesses[0].probability, rel=1e-5)
        own = next(guess for guess in one.guesses if guess.label == answer.label)
        assert answer.loss == pytest.approx(-np.log(own.probability), rel=1e-4)
        assert answer.digest == file_digest(Path(one.image))
    right = sum(answer.right for answer in result.answers)
    assert result.accuracy == pytest.approx(100 * right / 12)
    assert 0 < right < 12  # or the test shows little
    assert len({answer.predicted for answer in result.answers}) > 1
    assert result.balanced_accuracy == pytest.approx(result.accuracy)
    assert sum(pair.images for pair in result.confusion if pair.label == pair.predicted) == right
    assert (result.pictures, result.image_size, tuple(result.classes)) == (12, 32, CLASSES)
    assert result.trained_on == 0
    folder = Path("tested")
    assert str(read_answers(folder / "predictions.csv")) != "()"
    written = read_predictions(folder / "predictions.json")
    assert len(written.mistakes) == 12 - right
    losses = [mistake.loss for mistake in written.mistakes]
    assert losses == sorted(losses, reverse=True)
    page = (folder / "report.html").read_text()
    assert "Reliability diagram" in page
    assert page.count('<img src="data:image/jpeg;base64,') == 12 - right
    assert content(EvaluationResult.read(folder / "result.json")) == content(result)


def test_without_a_folder_nothing_is_written(tmp_path: Path) -> None:
    before = sorted(path.name for path in tmp_path.iterdir())
    result = asvit.test("photos", weights="run", device="cpu")
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert (result.folder, result.kept) == (NO_FOLDER, False)
    assert len(result.answers) == 12
    assert "--out" not in result.provenance["command"]
    assert "folder" not in repr(result)
    drawn = pictures(result)
    assert [picture.name for picture in drawn] == ["calibration", "confusion"]
    assert all("<svg" in picture.svg for picture in drawn)
    assert [table.title for table in details(result)] == ["By class, per cent"]
    kept = asvit.test("photos", weights="run", device="cpu", out="tested")
    assert content(kept) == content(result)


@pytest.mark.parametrize("weights", ["copy.onnx", "copy", "run/model.safetensors"])
def test_copies_and_files_are_tested_alike(weights: str) -> None:
    there, here = (asvit.test("photos", weights=one, device="cpu") for one in ("run", weights))
    assert here.confusion == there.confusion
    assert here.loss == pytest.approx(there.loss, abs=1e-4)
    assert here.calibration_error == pytest.approx(there.calibration_error, abs=0.01)


def test_timm_prepares_pictures_of_its_models_as_it_does() -> None:
    facts, side = timm_preparation("timm:vit_tiny_patch16_224")
    assert facts["mean"] == facts["std"] == (0.5, 0.5, 0.5)
    assert (facts["crop_pct"], facts["crop_mode"], side) == (0.9, "center", 224)
    noise = np.random.default_rng(0).integers(0, 256, (300, 600, 3), dtype=np.uint8)
    picture = Image.fromarray(noise)
    for name, mode in (
        ("timm:convnextv2_tiny.fcmae_ft_in22k_in1k_384", "squash"),
        ("timm:deepseek_vit_412m.deepseek_v4_flash_vision_exp", "border"),
        ("timm:volo_d4_448", "center"),  # crops more than there is
    ):
        facts, side = timm_preparation(name)
        assert facts["crop_mode"] == mode
        timms = create_transform(
            **resolve_data_config(pretrained_cfg=get_pretrained_cfg(name[5:]).to_dict())
        )
        result = Preparation.of(side, 3, facts)(picture)
        torch.testing.assert_close(result, timms(picture), rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="for timm:tv_resnet34; use the model's present name"):
        timm_preparation("timm:tv_resnet34")


def test_pictures_that_cannot_be_read_are_named_and_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name in ("cat/1.png", "ox/2.png"):
        path = Path("photos") / name
        path.write_bytes(path.read_bytes()[:80])
    place = Path("photos").absolute()
    with caplog.at_level(logging.WARNING):
        result = asvit.test(place, weights="run", device="cpu")
    assert list(result.unreadable) == ["cat/1.png", "ox/2.png"]
    told = [record.message.replace(f"{place}/", "") for record in caplog.records]
    assert told == list(result.unreadable.values())
    assert "'cat/1.png'" in told[0]
    assert result.pictures == len(result.answers) == 10
    for path in Path("photos").rglob("*.png"):
        path.write_bytes(b"none")
    with pytest.raises(ValueError, match="none of the pictures can be read: folder photos, 12"):
        asvit.test("photos", weights="run", device="cpu")


@pytest.fixture
def trained() -> EvaluationResult | Any:
    """A training on the pictures, of which some are for validation."""
    return asvit.run_training(
        "4,2,2|4,1,2|4,1,2|4,1,2|16,8", data="photos", recipe="small", image_size=32, epochs=1,
        batch_size=4, held_out=0.25, out="training", device="cpu",
    )  # fmt: skip


def test_pictures_that_it_was_trained_on_are_warned_about(
    trained: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        result = asvit.test("photos", weights="training", device="cpu")
    assert result.trained_on == 9  # and 3 for validation
    (line,) = (record.message for record in caplog.records)
    assert line == "the network was trained on 9 of these 12 pictures: on others it is worse"
    validated = {answer.image for answer in trained.answers}
    copies = Path("copies")
    for place, path in enumerate(sorted(Path("photos").rglob("*.png"))):
        if str(path.relative_to("photos")) in validated or place % 2:
            (copies / path.parent.name).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copies / path.parent.name / f"other-{place}.png")
    known = sum(
        file_digest(path) not in {file_digest(Path("photos") / name) for name in validated}
        for path in copies.rglob("*.png")
    )
    caplog.clear()
    assert asvit.test("copies", weights="training", device="cpu").trained_on == known > 0
    shutil.copy("copy.onnx", "training/model.onnx")
    assert asvit.test("copies", weights="training/model.onnx").trained_on == known
    replace(trained, settings=replace(trained.settings, data="photos:grey")).write()
    assert asvit.test("copies", weights="training", device="cpu").trained_on == known
    shutil.rmtree("photos")  # then nothing is known
    caplog.clear()
    assert asvit.test("copies", weights="training", device="cpu").trained_on == 0
    (line,) = (record.message for record in caplog.records)
    assert line == (
        "whether the network was trained on some of these pictures is not known: there is no "
        "photos:grey here, which training was trained on"
    )


def test_the_same_again_tests_nothing_and_other_weights_are_refused() -> None:
    first = asvit.test("photos", weights="run", out="tested", device="cpu")
    steps: list[object] = []
    again = asvit.test("photos", weights="run", out="tested", device="cpu", progress=steps.append)
    assert (steps, again.to_json()) == ([], first.to_json())
    assert first.to_json()["weights"]["digest"] == file_digest(Path("run/model.safetensors"))
    weights = WeightsFile.read(Path("run/model.safetensors"))
    shifted = {name: tensor + 0.5 for name, tensor in weights.weights.items()}
    replace(weights, weights=shifted).write(Path("run/model.safetensors"))
    with pytest.raises(ValueError, match="run folder tested was started with weights run"):
        asvit.test("photos", weights="run", out="tested", device="cpu")
    fresh = asvit.test("photos", weights="run", out="tested", device="cpu", fresh=True)
    assert fresh.loss != first.loss


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"weights": "none"}, FileNotFoundError, "none"),
        ({"weights": "photos"}, FileNotFoundError, r"photos.model\.safetensors"),
        ({"data": "none"}, FileNotFoundError, "no folder 'none'"),
        ({"data": "run"}, ValueError, "no images in 'run'"),
        ({"device": "tpu9"}, ValueError, "device 'tpu9' is not available"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
    ],
)
def test_what_cannot_be_tested_is_refused_in_one_line(
    given: dict[str, Any], error: type[Exception], words: str
) -> None:
    usual = {"data": "photos", "weights": "run", "device": "cpu", "out": "tested"}
    with pytest.raises(error, match=words) as caught:
        asvit.test(**{**usual, **given})
    assert "\n" not in str(caught.value)
    assert not Path("tested").exists()

"""The teacher that a training is asked to learn from."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import nn

from asvit.networks import Network, WeightsFile
from asvit.training import distillation
from asvit.training.distillation import Teacher, load_teacher
from asvit.training.settings import TrainSettings

ARCH = "4,2,2|4,1,2|4,1,2|4,1,2|16,8"
CLASSES = ("a", "b", "c")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def settings(teacher: str, weights: object, **given: Any) -> TrainSettings:
    return TrainSettings.make(
        architecture=ARCH, image_size=32, teacher=teacher, teacher_weights=str(weights), **given
    )


def written(folder: Path, **given: Any) -> nn.Module:
    """Keep a fresh network as a training does."""
    network = Network(ARCH, 64, 3)
    model = network.build()
    content: dict[str, Any] = {"classes": CLASSES, "facts": {"mean": MEAN, "std": STD}, **given}
    WeightsFile(network, model.state_dict(), **content).write(folder / "model.safetensors")
    return model.eval()


def found(asked: TrainSettings, classes: tuple[str, ...] = CLASSES) -> Teacher:
    teacher = load_teacher(asked, classes)
    assert teacher is not None
    return teacher


def test_a_network_that_was_trained_here(tmp_path: Path) -> None:
    model = written(tmp_path)
    images = torch.rand(2, 3, 64, 64)
    logits = found(settings(ARCH, tmp_path))(images)
    with torch.no_grad():
        torch.testing.assert_close(logits, model(images))
    assert load_teacher(TrainSettings.make(architecture=ARCH), CLASSES) is None  # not asked for


def test_plain_weights_of_timm(tmp_path: Path) -> None:
    model = timm.create_model("deit_tiny_patch16_224", img_size=32, num_classes=3).eval()
    torch.save(model.state_dict(), tmp_path / "w.pth")
    teacher = found(settings("timm:deit_tiny_patch16_224", tmp_path / "w.pth"))
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(teacher(images), model(images))


def test_published_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}
    made = timm.create_model("deit_tiny_patch16_224", num_classes=3)
    made.pretrained_cfg = {**made.pretrained_cfg, "mean": (0.5,) * 3, "std": (0.5,) * 3}

    def create(name: str, **given: Any) -> nn.Module:
        asked.update(given, name=name)
        return made

    monkeypatch.setattr(distillation.timm, "create_model", create)
    teacher = found(settings("timm:deit_tiny_patch16_224", "timm"))
    assert asked == {"name": "deit_tiny_patch16_224", "pretrained": True}
    images = torch.rand(2, 3, 32, 32)
    mean, std = (torch.tensor(value).view(3, 1, 1) for value in (MEAN, STD))
    theirs = nn.functional.interpolate(images, (224, 224), mode="bicubic", antialias=True)
    with torch.no_grad():
        expected = made.eval()((theirs * std + mean - 0.5) / 0.5)
    torch.testing.assert_close(teacher(images), expected, rtol=1e-4, atol=1e-4)


def test_teachers_that_do_not_suit_are_refused(tmp_path: Path) -> None:
    written(tmp_path)
    for teacher, weights, classes, message in (
        (ARCH, tmp_path, "ab", "knows 3 classes, the images have 2"),
        (ARCH, tmp_path, "acb", "has other classes than the images, or another order"),
        ("timm:resnet18", tmp_path, "abc", "not the teacher timm:resnet18"),
        (ARCH, "timm", "abc", "timm publishes no weights of"),
        ("timm:resnet81", "timm", "abc", "did you mean 'timm:resnet18'"),
    ):
        with pytest.raises(ValueError, match=message):
            load_teacher(settings(teacher, weights), tuple(classes))
    with pytest.raises(FileNotFoundError, match="no file of weights"):
        load_teacher(settings(ARCH, tmp_path / "none.safetensors"), CLASSES)

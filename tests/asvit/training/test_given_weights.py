"""Teachers and weights to start from: what is read, what each teaches, and what is refused."""

import math
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

import asvit
from asvit.data import MEAN, STD
from asvit.networks import Network, WeightsFile
from asvit.networks.opening import load_pretrained, weights_path
from asvit.training.distillation import Teacher, distillation_loss, load_teacher
from asvit.training.settings import TrainSettings

ARCH = "4,2,2|4,1,2|4,1,2|4,1,2|16,8"
CLASSES = ("a", "b", "c")


def test_hard_distillation_is_the_cross_entropy_with_the_decision() -> None:
    student = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    targets = torch.tensor([[3.0, 1.0], [3.0, 1.0]])  # decides for the first class twice
    expected = (math.log(1 + math.exp(-1)) + math.log(1 + math.exp(2))) / 2
    loss = distillation_loss(student, targets)
    assert float(loss) == pytest.approx(expected, rel=1e-6)


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
    return load_teacher(asked, classes)


def test_a_network_that_was_trained_here(tmp_path: Path) -> None:
    model = written(tmp_path)
    images = torch.rand(2, 3, 64, 64)
    logits = found(settings(ARCH, tmp_path))(images)
    with torch.no_grad():
        torch.testing.assert_close(logits, model(images))
    assert load_teacher(TrainSettings.make(architecture=ARCH), CLASSES) is None  # not asked for


def test_published_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}
    made = timm.create_model("deit_tiny_patch16_224", num_classes=3)
    made.pretrained_cfg = {**made.pretrained_cfg, "mean": (0.5,) * 3, "std": (0.5,) * 3}

    def create(name: str, **given: Any) -> nn.Module:
        if given.get("pretrained"):
            asked.update(given, name=name)
        return made

    monkeypatch.setattr(timm, "create_model", create)
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
        (ARCH, tmp_path, "ab", "knows 3 classes, and the images have 2"),
        (ARCH, tmp_path, "acb", "or in another order"),
        ("timm:resnet18", tmp_path, "abc", "not 'timm:resnet18'"),
        (ARCH, "timm", "abc", "timm publishes no weights of"),
        ("timm:resnet81", "timm", "abc", "did you mean 'timm:resnet18'"),
    ):
        with pytest.raises(ValueError, match=message):
            load_teacher(settings(teacher, weights), tuple(classes))
    with pytest.raises(FileNotFoundError, match="no file of weights"):
        load_teacher(settings(ARCH, tmp_path / "none.safetensors"), CLASSES)


def saved(model: nn.Module, folder: Path) -> str:
    path = folder / "w.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, path)
    return str(path)


@pytest.mark.parametrize("kind", ["a run folder", "a file of PyTorch's"])
def test_what_weights_are_read_from(tmp_path: Path, kind: str) -> None:
    network = Network(ARCH, 32, 5)
    trained, fresh = network.build(), network.build()
    if kind == "a run folder":  # stands for its trained network
        WeightsFile(network, trained.state_dict()).write(tmp_path / "model.safetensors")
        given, path = tmp_path, tmp_path / "model.safetensors"
    else:
        given = path = tmp_path / "w.pth"
        torch.save({"model": trained.state_dict()}, path)
    assert weights_path(str(given)) == path
    load_pretrained(fresh, str(given), new_head=False)
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(fresh.eval()(images), trained.eval()(images))


@pytest.mark.parametrize(
    ("arch", "smaller", "larger"),
    [
        (ARCH, 32, 32),
        (ARCH, 32, 64),
        ("timm:deit_tiny_patch16_224", 32, 48),
        ("timm:deit_tiny_distilled_patch16_224", 48, 32),
        ("timm:pit_ti_224", 64, 96),
        ("timm:swin_tiny_patch4_window7_224", 64, 128),
    ],
)
def test_the_same_and_another_image_size(
    tmp_path: Path, arch: str, smaller: int, larger: int
) -> None:
    trained, fresh = asvit.build(arch, smaller, 5), asvit.build(arch, larger, 5)
    assert load_pretrained(fresh, saved(trained, tmp_path), new_head=False) == ()
    ours, theirs = fresh.state_dict(), trained.state_dict()
    for name, tensor in theirs.items():
        if ours[name].shape == tensor.shape or smaller == larger:
            assert torch.equal(ours[name], tensor)
    with torch.no_grad():
        assert fresh.eval()(torch.rand(1, 3, larger, larger)).isfinite().all()


def test_other_classes_and_other_networks_are_refused(tmp_path: Path) -> None:
    path = saved(asvit.build(ARCH, 32, 5), tmp_path)
    model = asvit.build(ARCH, 32, 7)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ValueError, match="are for 5 classes, the images have 7; give --new-head"):
        load_pretrained(model, path, new_head=False)
    with pytest.raises(ValueError, match="do not fit the network"):
        load_pretrained(asvit.build(ARCH.replace(",8", ",16"), 32, 5), path, new_head=True)
    network = Network(ARCH, 32, 3)
    WeightsFile(network, network.build().state_dict(), CLASSES).write(tmp_path / "own.safetensors")
    own = str(tmp_path / "own.safetensors")
    for classes in (("a", "c", "b"), ("a", "b", "d")):
        with pytest.raises(ValueError, match=r"in another order: a, b, c; give --new-head"):
            load_pretrained(network.build(), own, new_head=False, classes=classes)
        load_pretrained(network.build(), own, new_head=True, classes=classes)
    assert load_pretrained(network.build(), own, new_head=False, classes=CLASSES) == ()
    after = model.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)

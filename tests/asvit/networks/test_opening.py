"""Trained networks by any text: a run folder, a file, a copy, or what timm publishes."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from timm.data import ImageNetInfo

from asvit.networks import Network, WeightsFile
from asvit.networks.opening import open_network

ARCH = "shift:1,1,1,1|1|8|1|16"
NETWORK = Network(ARCH, image_size=32, num_classes=3)
CLASSES = ("cat", "dog", "ox")
FACTS = {"mean": [0.4, 0.5, 0.6], "std": [0.1, 0.2, 0.3], "crop_pct": 0.8}
IMAGES = torch.rand(2, 3, 32, 32)


def outputs(content: WeightsFile) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = content.load()(IMAGES)
    return logits


@pytest.fixture
def stored(tmp_path: Path) -> WeightsFile:
    """A network in the folder ``run``, and its weights alone in ``plain.pth``."""
    content = WeightsFile(NETWORK, NETWORK.build().state_dict(), CLASSES, FACTS)
    (tmp_path / "run").mkdir()
    content.write(tmp_path / "run" / "model.safetensors")
    (tmp_path / "run" / "result.json").write_text("{}")
    torch.save({"state_dict": content.weights}, tmp_path / "plain.pth")
    return content


@pytest.mark.parametrize("text", ["run", "run/result.json", "run/model.safetensors"])
def test_a_folder_its_result_and_its_file_are_the_same(text: str, stored: WeightsFile) -> None:
    opened = open_network(text, architecture=ARCH, num_classes=3)
    assert (opened.network, opened.classes, opened.facts) == (NETWORK, CLASSES, FACTS)
    assert torch.equal(outputs(opened), outputs(stored))


def test_a_file_of_others_needs_the_architecture_and_has_its_classes(stored: WeightsFile) -> None:
    opened = open_network("plain.pth", architecture=ARCH, image_size=32)
    assert (opened.network, opened.classes, opened.facts) == (NETWORK, (), {})
    assert torch.equal(outputs(opened), outputs(stored))
    with pytest.raises(ValueError, match="not which network they are of; name the architecture"):
        open_network("plain.pth")


def test_a_file_of_timms_network_is_prepared_for_as_timm_does(tmp_path: Path) -> None:
    model = timm.create_model("test_vit", num_classes=5)
    torch.save(model.state_dict(), tmp_path / "plain.pth")
    opened = open_network("plain.pth", architecture="timm:test_vit")
    config = timm.get_pretrained_cfg("test_vit")
    assert opened.network == Network("timm:test_vit", config.input_size[-1], 5)
    assert opened.facts["mean"] == config.mean
    assert opened.facts["crop_pct"] == config.crop_pct


def test_positions_are_resampled_for_another_size(tmp_path: Path) -> None:
    network = Network("psvit2d:b-----|b-----|b-----|16", 64, 3)
    content = WeightsFile(network, network.build().state_dict())
    content.write(tmp_path / "a.safetensors")
    opened = open_network("a.safetensors", image_size=96)
    assert opened.network == replace(network, image_size=96)
    assert opened.load()(torch.rand(1, 3, 96, 96)).shape == (1, 3)


@pytest.mark.parametrize(
    ("text", "given", "words"),
    [
        ("run", {"num_classes": 5}, "has num_classes 3, not 5; leave it out"),
        ("run", {"architecture": "timm:resnet18"}, f"has architecture '{ARCH.split('|', 1)[0]}"),
        ("plain.pth", {"architecture": ARCH, "num_classes": 5}, "is for 3 classes, not 5"),
        ("plain.pth", {"architecture": "timm:resnet18"}, "do not fit the network"),
    ],
)
def test_another_network_is_refused(
    text: str, given: dict[str, Any], words: str, stored: WeightsFile
) -> None:
    with pytest.raises(ValueError, match=words):
        open_network(text, **given)


def test_published_weights_have_the_preparation_and_the_names_of_timm(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    create: Callable[..., Any] = timm.create_model

    def without_download(name: str, *, pretrained: bool = False, **given: Any) -> Any:
        return create(name, **given)

    monkeypatch.setattr(timm, "create_model", without_download)
    opened = open_network("timm:vit_tiny_patch16_224.augreg_in21k_ft_in1k")
    assert opened.network == Network("timm:vit_tiny_patch16_224", 224, 1000)
    assert opened.facts["mean"] == (0.5, 0.5, 0.5)
    assert opened.classes == tuple(ImageNetInfo("imagenet-1k").label_names())
    assert opened.classes[0] == "n01440764"

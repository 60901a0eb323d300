from pathlib import Path

import pytest
import timm
import torch
from exported_networks import SHIFT, as_file

from asvit.export.timm_folder import config, timm_arguments, write_timm_folder
from asvit.networks import Network, WeightsFile

HOST = Network("timm:test_vit", image_size=32, num_classes=3)
FACTS = {"mean": [0.4, 0.5, 0.6], "std": [0.1, 0.2, 0.3], "crop_pct": 0.8, "top1": 12.0}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model, content = as_file(SHIFT)
    known = WeightsFile(SHIFT, content.weights, ("cat", "dog", "ox"), FACTS)
    write_timm_folder(known, model, tmp_path / "shift")
    return tmp_path / "shift"


def test_timm_gets_preparation_and_labels(folder: Path) -> None:
    made = timm.create_model(f"local-dir:{folder}", pretrained=True)
    prepared = timm.data.resolve_model_data_config(made)
    assert list(prepared["input_size"]) == [3, 32, 32]
    assert list(prepared["mean"]) == FACTS["mean"]
    assert list(prepared["std"]) == FACTS["std"]
    assert prepared["crop_pct"] == FACTS["crop_pct"]
    assert made.pretrained_cfg["label_names"] == ["cat", "dog", "ox"]


def test_other_classes_keep_all_but_the_classifier(folder: Path) -> None:
    stored = timm.create_model(f"local-dir:{folder}", pretrained=True)
    made = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=7)
    assert made(torch.zeros(1, 3, 32, 32)).shape == (1, 7)
    own, other = made.state_dict(), stored.state_dict()
    changed = {name for name in own if own[name].shape != other[name].shape}
    assert changed == {"head.weight", "head.bias"}
    assert all(torch.equal(own[name], other[name]) for name in own if name not in changed)


def test_a_network_of_timm_goes_by_its_own_name() -> None:
    name, arguments = timm_arguments(HOST)
    assert (name, arguments) == ("test_vit", {"img_size": 32})
    model, content = as_file(HOST)
    assert config(content, model)["pretrained_cfg"]["classifier"] == "head"


def test_parts_of_ours_make_it_ours() -> None:
    network = Network("timm:test_vit", 32, 3, attention="hallucinated", ffn="compact", branches=2)
    name, arguments = timm_arguments(network)
    assert name == "asvit"
    assert arguments == {
        "architecture": "timm:test_vit",
        "img_size": 32,
        "attention": "hallucinated",
        "ffn": "compact",
        "branches": 2,
    }

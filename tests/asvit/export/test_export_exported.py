"""What is said of an export: its card, and the lines that load the copy, run as shown."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from exported_networks import SHIFT, as_file

from asvit.export.card import Exported, model_card
from asvit.export.comparison import Difference
from asvit.export.formats import FORMATS
from asvit.export.writers import write_copy
from asvit.networks import Network, WeightsFile
from proxies.counts import Cost

FACTS = {
    "mean": [0.4, 0.5, 0.6],
    "std": [0.1, 0.2, 0.3],
    "interpolation": "bicubic",
    "crop_pct": 0.9,
    "recipe": "swin",
    "epochs": 300,
    "images": "folder pets, 37 classes",
    "found_by": {"kind": "search", "run": "runs/search-1", "length_distortion": 12.5},
    "asvit": "0.1.0",
    "epoch": 299,
    "top1": 81.254,
    "weights": "average",
    "tokens": "16,5",
    "command": "asvit train ARCH",
    "seconds": 7200,
    "colour": "red",
}


@pytest.fixture
def exported() -> Exported:
    _, content = as_file(SHIFT)
    return Exported(
        content=WeightsFile(SHIFT, content.weights, ("cat", "dog", "ox"), FACTS),
        form=FORMATS["onnx"],
        out=Path("out/pets.onnx"),
        cost=Cost(params=1234, macs=56789),
        weights=Path("runs/train/model.safetensors"),
        trained_size=32,
        batch=None,
        opset=20,
        differences=(Difference(1, 1.5e-7, 3e-7), Difference(3, 2e-7, 4e-7)),
        digests={"pets.onnx": "12ab" * 16},
        card=Path("out/pets.md"),
        versions={"asvit": "0.2.0", "torch": "2.15.0"},
        command="asvit export runs/train --to onnx",
    )


def test_everything_known_is_told(exported: Exported) -> None:
    card = model_card(exported)
    assert card.startswith("# pets\n")
    for line in (
        f"* architecture: `{SHIFT.architecture}`",
        f"* SHA-256 of pets.onnx: `{'12ab' * 16}`",
        "* parameters: 1,234",
        "* multiply-adds of one image: 56,789 at 32 px",
        "* classes: 3: cat, dog, ox",
        "* mean: [0.4, 0.5, 0.6]",
        "* interpolation: bicubic",
        "* recipe: swin",
        "* epochs: 300",
        "* images: folder pets, 37 classes",
        "* accuracy: top-1 81.25 % on the images held out for validation, after epoch 299",
        "* tokens: 16,5",
        "* command: `asvit train ARCH`",
        "* seconds: 7200",
        "* colour: red",
        "* run: runs/search-1",
        "* length distortion: 12.5",
        "* batch: any number of images",
        "* operator set: 20; its input is called images",
        "* largest difference from the network, batch of 3: 2e-07, which is 4e-07 of the largest "
        "output",
        "* versions: asvit 0.2.0, torch 2.15.0",
        "* trained with: asvit 0.1.0",
        "* command: `asvit export runs/train --to onnx`",
        'session = onnxruntime.InferenceSession("pets.onnx")',
    ):
        assert line in card.splitlines(), line


def _with_facts(exported: Exported, facts: dict[str, Any]) -> str:
    return model_card(replace(exported, content=replace(exported.content, facts=facts)))


def test_no_accuracy_is_told_of_images_that_were_trained_on(exported: Exported) -> None:
    facts = {**FACTS, "top1": None, "train_on_validation": True}
    card = _with_facts(exported, facts)
    assert "* accuracy: not known: it was trained on its images for validation, too" in card
    assert "top-1" not in card
    designed = _with_facts(exported, {**facts, "designed": {"accuracy": "90.0 % of 40 pictures"}})
    assert re.findall(r"accuracy.*", designed) == ["accuracy: 90.0 % of 40 pictures"]


BOTH = Network("timm:test_vit", 32, 3, attention="hallucinated", ffn="compact")


@pytest.mark.parametrize(
    ("changes", "told", "untold"),
    [
        ({"weights": None}, "None: the weights are random.", "accuracy"),
        ({"trained_size": 64}, ", at 64 px, not at the size of this copy", "at 32 px, not"),
        (
            {"form": FORMATS["timm"], "out": Path("pets"), "opset": None},
            "---\nlibrary_name: timm\n",  # words that hubs read
            "* batch:",
        ),
        (
            {"network": BOTH},
            "* attention: hallucinated\n* feed-forward parts: compact, merged",
            "branches",
        ),
    ],
)
def test_the_card_is_about_this_copy(
    exported: Exported, changes: dict[str, Any], told: str, untold: str
) -> None:
    if "network" in changes:
        changes = {"content": replace(exported.content, **changes)}
    card = model_card(replace(exported, **changes))
    assert told in card
    assert untold not in card


@pytest.mark.parametrize("name", FORMATS)
def test_the_lines_run(name: str, exported: Exported, tmp_path: Path) -> None:
    model, content = as_file(SHIFT)
    form = FORMATS[name]
    place = tmp_path / f'a "copy"{form.suffix}'
    write_copy(form, place, model=model, content=content)
    names: dict[str, object] = {}
    exec(replace(exported, form=form, batch=2).loading_code(str(place)), names)
    logits: Any = names["logits"]
    assert tuple(logits.shape) == (2, 3)


def test_a_network_of_timm_is_loaded_without_us(exported: Exported) -> None:
    content = replace(exported.content, network=Network("timm:test_vit(qkv_bias=False)", 32, 3))
    code = replace(exported, form=FORMATS["timm"], content=content).loading_code("folder")
    assert "asvit" not in code
    assert '    "test_vit",\n    num_classes=3,\n    qkv_bias=False,\n    img_size=32,\n' in code

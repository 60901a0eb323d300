"""Mask R-CNN learns objects on tiny pictures, from the command line."""

import json
import math
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from run_script import Script
from tiny_scenes import SHARED, make_coco
from torchvision.models.detection import MaskRCNN
from torchvision.transforms import v2

from asvit.networks import Network, WeightsFile
from experiments import train_detection
from experiments.train_detection import Detection, DetectionSettings, detector, main
from experiments.transfer_run import read_weights

AS_VIT = SHARED["arch"]
LINE = (
    "--data data --train train --validation val --image-size 64 --epochs 6 --batch-size 4 "
    "--learning-rate 1e-3 --warmup 4 --clip 1 --drop-path 0 --scale 1 1 --fpn 32 --anchor 4 "
    "--regions 16 --device cpu"
)
# pycocotools' own, with numpy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def settings(**changes: Any) -> DetectionSettings:
    own = {"train": "train", "validation": "val", "anchor": 4.0, "fpn": 16, "regions": 16}
    return DetectionSettings(**{**SHARED, **own, **changes})


@pytest.fixture
def _few_detections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten objects an image in place of a hundred: masks take most of the time."""
    few = partial(MaskRCNN, box_detections_per_img=10)
    monkeypatch.setattr(train_detection, "MaskRCNN", few)


def make_data(*, train: int = 8, val: int = 2) -> None:
    make_coco(Path("data"), "train", images=train)
    make_coco(Path("data"), "val", images=val)  # the first of the training images


@pytest.mark.usefixtures("_few_detections")
def test_losses_fall_and_boxes_and_masks_come_out(script: Script) -> None:
    make_data()
    lines = [json.loads(line) for line in script(main, f"{AS_VIT} {LINE} --out run").splitlines()]
    assert script.code == 0
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert lines[-1]["loss"] < 0.9 * lines[0]["loss"]
    assert lines[-1]["loss_mask"] < 0.8 * lines[0]["loss_mask"]
    for kind in ("box", "mask"):
        assert all(0 <= line[f"{kind}_map"] <= line[f"{kind}_map_50"] <= 100 for line in lines)
        assert lines[-1][f"{kind}_map_50"] > 5
    assert Path("run/metrics.jsonl").read_text().splitlines() == [*map(json.dumps, lines)]
    model = detector(settings(fpn=32), 2).eval()
    model.load_state_dict(read_weights(Path("run/checkpoint.safetensors")))
    with torch.inference_mode():
        found = model([torch.rand(3, 48, 80)])[0]
    assert found["boxes"].shape == (len(found["scores"]), 4)
    assert found["masks"].shape == (len(found["scores"]), 1, 48, 80)


@pytest.mark.slow
@pytest.mark.usefixtures("_few_detections")
def test_tiny_pictures_are_learnt_by_heart(script: Script) -> None:
    make_data(val=8)
    last = json.loads(script(main, f"{AS_VIT} {LINE} --out run --epochs 20").splitlines()[-1])
    assert last["box_map_50"] > 60
    assert last["mask_map_50"] > 60


@pytest.mark.parametrize(
    ("arch", "anchors"),
    [
        ("shift:1,1,1,1|2|12|1|24", ((16,), (32,), (64,), (128,), (256,))),
        ("psvit2d:b-----|b-----|b-----|16", ((32,), (64,), (128,), (256,))),
    ],
)
def test_other_networks_under_the_detector(arch: str, anchors: tuple[tuple[int]]) -> None:
    model = detector(settings(arch=arch, frozen_stages=1), 2)
    assert model.rpn.anchor_generator.sizes == anchors
    target = {
        "boxes": torch.tensor([[8.0, 8.0, 40.0, 40.0]]),
        "labels": torch.tensor([1]),
        "masks": torch.ones(1, 64, 64, dtype=torch.uint8),
    }
    losses = model([torch.rand(3, 64, 64)], [target])
    assert all(math.isfinite(loss.item()) for loss in losses.values())


def test_training_starts_from_weights(tmp_path: Path) -> None:
    network = Network(AS_VIT, image_size=64, num_classes=2)
    source = network.build()
    file = tmp_path / "weights.safetensors"
    WeightsFile(network, source.state_dict()).write(file)
    model = detector(settings(weights=str(file), arch=""), 2)
    loaded = model.backbone.body.body.state_dict()
    for name, tensor in source.state_dict().items():
        if name in loaded:
            assert torch.equal(loaded[name], tensor)


def test_training_images_are_square_whatever_their_size() -> None:
    make_data(train=2)
    task = Detection(settings(scale=(0.3, 2.0), image_size=96))
    crop = v2.RandomCrop((50, 64))
    for place in task.indices:
        image, target = task.images[place]
        varied, objects = task.transform(*crop(image, target))
        assert (varied.shape, varied.dtype) == ((3, 96, 96), torch.float32)
        assert varied.max() <= 1
        assert objects["masks"].shape[1:] == (96, 96)
        assert len(objects["boxes"]) == len(objects["labels"]) == len(objects["masks"])


def test_splits_of_other_classes() -> None:
    make_data(train=1, val=1)
    file = Path("data/annotations/instances_val.json")
    file.write_text(file.read_text().replace("ellipse", "circle"))
    with pytest.raises(ValueError, match="train has the classes ellipse, rectangle, and val has"):
        Detection(settings())

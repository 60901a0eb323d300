"""Mask R-CNN and UperNet learn tiny pictures, from the command line."""

import json
import math
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import tiny_scenes
import torch
from PIL import Image
from run_script import Script
from tiny_scenes import SHARED, make_ade, make_coco
from torch import nn
from torchvision.models.detection import MaskRCNN
from torchvision.transforms import v2

from asvit.networks import Network, WeightsFile
from asvit.networks.pyramid import Pyramid, backbone
from asvit.training.distributed import ProcessGroup
from experiments import train_detection, train_segmentation
from experiments.train_detection import Detection, DetectionSettings, detector
from experiments.train_segmentation import Segmentation, SegmentationSettings, UperNet
from experiments.transfer_run import read_weights

AS_VIT = SHARED["arch"]
CHECKPOINT = "checkpoint.safetensors"
LINE = "--data data --image-size 64 --batch-size 4 --drop-path 0 --scale 1 1 --device cpu"
DETECTION = (
    f"{AS_VIT} {LINE} --train train --validation val --epochs 20 --learning-rate 1e-3 --warmup 4 "
    "--clip 1 --fpn 32 --anchor 4 --regions 16 --out run"
)
SEGMENTATION = f"{LINE} --epochs 8 --learning-rate 2e-3 --warmup 2 --classes 3 --head 32"
# pycocotools' own, with numpy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def detection(**changes: Any) -> DetectionSettings:
    return DetectionSettings(**{**tiny_scenes.DETECTION, **changes})


def segmentation(**changes: Any) -> SegmentationSettings:
    own = {"classes": 3, "train": "training", "validation": "validation", "head": 16}
    return SegmentationSettings(**{**SHARED, **own, **changes})


def make_data(train: int, validation: int) -> None:
    """Pictures for both tasks; those to validate a detector with are the first of its others."""
    for split, images in (("train", train), ("val", validation)):
        make_coco(Path("data"), split, images=images)
    for seed, (split, images) in enumerate((("training", train), ("validation", validation))):
        make_ade(Path("data"), split, images=images, seed=seed)


@pytest.fixture
def _few_detections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten objects an image in place of a hundred: masks take most of the time."""
    few = partial(MaskRCNN, box_detections_per_img=10)
    monkeypatch.setattr(train_detection, "MaskRCNN", few)


@pytest.mark.slow
@pytest.mark.usefixtures("_few_detections")
@pytest.mark.parametrize("heads", ["mask", "cascade"])
def test_tiny_pictures_are_learnt_by_heart(script: Script, heads: str) -> None:
    make_data(8, 4)
    printed = script(train_detection.main, f"{DETECTION} --detector {heads}")
    lines = [json.loads(line) for line in printed.splitlines()]
    assert script.code == 0
    assert [line["epoch"] for line in lines] == [*range(1, 21)]
    assert lines[-1]["loss"] < 0.9 * lines[0]["loss"]
    assert lines[-1]["loss_mask"] < 0.8 * lines[0]["loss_mask"]
    for kind in ("box", "mask"):
        assert all(0 <= line[f"{kind}_map"] <= line[f"{kind}_map_50"] <= 100 for line in lines)
        assert lines[-1][f"{kind}_map_50"] > 60
    assert Path("run/metrics.jsonl").read_text().splitlines() == [*map(json.dumps, lines)]
    model = detector(detection(fpn=32, detector=heads), 2).eval()
    model.load_state_dict(read_weights(Path("run") / CHECKPOINT))
    with torch.inference_mode():
        found = model([torch.rand(3, 48, 80)])[0]
    assert found["boxes"].shape == (len(found["scores"]), 4)
    assert found["masks"].shape == (len(found["scores"]), 1, 48, 80)


@pytest.mark.parametrize(
    ("arch", "anchors"),
    [
        ("shift:1,1,1,1|2|12|1|24", ((16,), (32,), (64,), (128,), (256,))),
        ("psvit2d:b-----|b-----|b-----|16", ((32,), (64,), (128,), (256,))),
    ],
)
def test_other_networks_under_the_detector(arch: str, anchors: tuple[tuple[int]]) -> None:
    model = detector(detection(arch=arch, frozen_stages=1), 2)
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
    model = detector(detection(weights=str(file), arch=""), 2)
    loaded = model.backbone.body.body.state_dict()
    for name, tensor in source.state_dict().items():
        if name in loaded:
            assert torch.equal(loaded[name], tensor)


def test_training_images_are_square_whatever_their_size() -> None:
    make_data(2, 2)
    task = Detection(detection(scale=(0.3, 2.0), image_size=96))
    crop = v2.RandomCrop((50, 64))
    for place in task.indices:
        image, target = task.images[place]
        varied, objects = task.transform(*crop(image, target))
        assert (varied.shape, varied.dtype) == ((3, 96, 96), torch.float32)
        assert varied.max() <= 1
        assert objects["masks"].shape[1:] == (96, 96)
        assert len(objects["boxes"]) == len(objects["labels"]) == len(objects["masks"])


def test_splits_of_other_classes() -> None:
    make_data(1, 1)
    file = Path("data/annotations/instances_val.json")
    file.write_text(file.read_text().replace("ellipse", "circle"))
    with pytest.raises(ValueError, match="train has the classes ellipse, rectangle, and val has"):
        Detection(detection())


def upernet(arch: str = AS_VIT, classes: int = 3) -> UperNet:
    pyramid = cast("Pyramid", backbone(arch, 64))
    return UperNet(pyramid, classes, head=16, mean=(0.5,) * 3, std=(0.2,) * 3)


@pytest.mark.parametrize("arch", [AS_VIT, "shift:1,1,1,1|2|12|1|24"])
def test_loss_falls_and_mean_iou_rises_above_chance(arch: str, script: Script) -> None:
    make_data(8, 4)
    printed = script(train_segmentation.main, f"{arch} {SEGMENTATION} --out run")
    lines = [json.loads(line) for line in printed.splitlines()]
    assert script.code == 0
    assert lines[-1]["loss"] < 0.9 * lines[0]["loss"]
    # All pixels in the most frequent class give an IoU below 100 for it and 0 for two others.
    assert lines[-1]["mean_iou"] > 100 / 3
    assert lines[-1]["pixel_accuracy"] > lines[-1]["mean_iou"]
    assert len(Path("run/metrics.jsonl").read_text().splitlines()) == 8
    assert any(n.startswith("decode_head") for n in read_weights(Path("run") / CHECKPOINT))


@pytest.mark.slow
def test_two_processes_train_one_network(tmp_path: Path) -> None:
    make_data(8, 4)
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    words = f"-m experiments.train_segmentation {AS_VIT} {SEGMENTATION} --epochs 2"
    places = f"--data {tmp_path / 'data'} --out {tmp_path / 'run'}"
    done = subprocess.run(
        [*launch, *words.split(), *places.split()],
        cwd=Path(train_segmentation.__file__).parent.parent,
        env={**os.environ, "ACCELERATE_USE_CPU": "true"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    # What both found together is what one finds alone with the weights that were written.
    task = Segmentation(segmentation(head=32))
    task.model.load_state_dict(read_weights(tmp_path / "run" / CHECKPOINT))
    alone = task.evaluate(ProcessGroup("cpu"))
    assert alone == pytest.approx({name: lines[-1][name] for name in alone}, abs=0.02)


@pytest.mark.parametrize("arch", [AS_VIT, "psvit2d:b-----|b-----|b-----|16"])
@pytest.mark.parametrize("size", [(64, 64), (50, 70)])
def test_logits_have_the_size_of_the_image(arch: str, size: tuple[int, int]) -> None:
    model = upernet(arch).train()
    image, labels = torch.rand(2, 3, *size), torch.randint(3, (2, *size))
    losses = model(image, labels)
    assert sorted(losses) == ["loss_auxiliary", "loss_decode"]
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in model.parameters())
    assert model.eval()(image).shape == (2, 3, *size)


def test_pixels_without_a_class_do_not_count() -> None:
    model = upernet().eval()
    image, labels = torch.rand(2, 3, 64, 64), torch.randint(3, (2, 64, 64))
    labels[:, 32:] = 255
    with torch.no_grad():
        loss = model(image, labels)["loss_decode"]
        logits = model(image)[:, :, :32]
        nothing = model(image, torch.full_like(labels, 255))
    torch.testing.assert_close(loss, nn.functional.cross_entropy(logits, labels[:, :32]))
    assert [float(value) for value in nothing.values()] == [0, 0]


def test_images_are_normalised_inside() -> None:
    model = upernet().eval()
    with torch.no_grad():
        expected = model(torch.zeros(1, 3, 64, 64))
        model.mean += 0.3
        shifted = model(torch.full((1, 3, 64, 64), 0.3))
    torch.testing.assert_close(shifted, expected)


def test_evaluation_counts_what_it_says() -> None:
    make_data(1, 2)
    task = Segmentation(segmentation())

    class First(nn.Module):
        """Finds class 1 everywhere."""

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1).expand(1, 3, *image.shape[-2:])

    task.model = First()
    stored = [np.asarray(Image.open(f)) for f in Path("data/annotations/validation").iterdir()]
    right = sum((classes == 1).sum() for classes in stored)
    counted = sum((classes > 0).sum() for classes in stored)
    values = task.evaluate(ProcessGroup("cpu"))
    assert values["pixel_accuracy"] == pytest.approx(100 * right / counted, abs=1e-3)
    assert values["mean_iou"] == pytest.approx(100 * right / counted / 3, abs=1e-3)


def test_evaluation_is_at_the_size_of_the_annotation() -> None:
    make_ade(Path("data"), "training", images=1)
    make_ade(Path("data"), "validation", images=1, side=100)
    values = Segmentation(segmentation()).evaluate(ProcessGroup("cpu"))
    assert all(math.isfinite(cast("float", value)) for value in values.values())


def test_training_images_are_square_and_their_frame_has_no_class() -> None:
    make_data(2, 1)
    task = Segmentation(segmentation(scale=(0.5, 0.5)))
    image, labels = task.transform(*task.images[0])
    assert (image.shape, image.dtype) == ((3, 64, 64), torch.float32)
    assert labels.shape == (1, 64, 64)
    assert set(labels.unique().tolist()) <= {0, 1, 2, 255}
    assert (labels == 255).float().mean() > 0.7  # a quarter of it is image
    assert any(isinstance(step, v2.RandomPhotometricDistort) for step in task.transform.transforms)

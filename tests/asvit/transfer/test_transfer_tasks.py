"""Detectors and segmenters on our networks: models, augmentation, evaluation, drawings."""

import copy
import math
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision.transforms import v2

from asvit.networks import Network, WeightsFile
from asvit.networks.pyramid import backbone
from asvit.transfer.detector import Detection, detector
from asvit.transfer.segmenter import Segmentation, UperNet
from asvit.transfer.settings import DetectionSettings, SegmentationSettings
from tests.asvit.transfer.tiny_scenes import (
    ARCH,
    DETECTION,
    SEGMENTATION,
    make_data,
    prepared,
)


def detection(**changes: Any) -> DetectionSettings:
    return DetectionSettings(**{**DETECTION, "detector": "mask", **changes})


def segmentation(**changes: Any) -> SegmentationSettings:
    return SegmentationSettings(**{**SEGMENTATION, **changes})


@pytest.mark.parametrize(
    ("arch", "anchors"),
    [
        ("shift:1,1,1,1|2|12|1|24", ((16,), (32,), (64,), (128,), (256,))),
        ("psvit2d:b-----|b-----|b-----|16", ((32,), (64,), (128,), (256,))),
    ],
)
def test_other_networks_under_the_detector(arch: str, anchors: tuple[tuple[int]]) -> None:
    model = detector(detection(architecture=arch), 2)
    assert model.rpn.anchor_generator.sizes == anchors
    target = {
        "boxes": torch.tensor([[8.0, 8.0, 40.0, 40.0]]),
        "labels": torch.tensor([1]),
        "masks": torch.ones(1, 64, 64, dtype=torch.uint8),
    }
    losses = model([torch.rand(3, 64, 64)], [target])
    assert all(math.isfinite(loss.item()) for loss in losses.values())


def test_training_starts_from_weights(tmp_path: Path) -> None:
    network = Network(ARCH, image_size=64, num_classes=2)
    source = network.build()
    file = tmp_path / "weights.safetensors"
    WeightsFile(network, source.state_dict()).write(file)
    model = detector(detection(weights=str(file), architecture=None), 2)
    loaded = model.backbone.pyramid.body.body.state_dict()
    weights = source.state_dict()
    assert {name.partition(".")[0] for name in weights.keys() - loaded.keys()} == {"norm", "head"}
    for name in weights.keys() & loaded.keys():
        assert torch.equal(loaded[name], weights[name])


def test_autocast_rounds_maps_alone_and_no_boxes() -> None:
    """In bfloat16, proposals and what the box heads learn would be rounded to whole pixels."""
    make_data(2, 2)
    task = Detection(detection(precision="bf16"))
    model = cast("Any", task.network)
    seen: dict[str, torch.Tensor] = {}

    def note_maps(_module: nn.Module, _given: Any, maps: dict[str, torch.Tensor]) -> None:
        seen["inside"] = maps["0"]

    def note_regions(_module: nn.Module, given: Any, losses: Any) -> None:
        features, proposals = given[:2]
        seen.update(maps=features["0"], proposals=proposals[0], **losses[1])

    def note_targets(_boxes: Any, _given: Any) -> list[torch.Tensor]:
        offsets = encode(_boxes, _given)
        seen["targets"] = offsets[0]
        return cast("list[torch.Tensor]", offsets)

    encode = model.rpn.box_coder.encode
    model.rpn.box_coder.encode = note_targets
    model.backbone.pyramid.register_forward_hook(note_maps)
    model.roi_heads.register_forward_hook(note_regions)
    target = {
        "boxes": torch.tensor([[8.3, 8.7, 40.1, 39.9]]),
        "labels": torch.tensor([1]),
        "masks": torch.ones(1, 64, 64, dtype=torch.uint8),
    }
    assert not task.casts
    model([torch.rand(3, 64, 64)], [target])
    assert seen.pop("inside").dtype == torch.bfloat16
    assert {name: values.dtype for name, values in seen.items()} == dict.fromkeys(
        seen, torch.float32
    )
    for name in ("proposals", "targets"):
        rounded = seen[name].bfloat16().float()
        assert not torch.equal(rounded, seen[name]), name
    model.eval()
    assert model.backbone(torch.rand(1, 3, 64, 64))["0"].dtype == torch.float32


class Nearly(nn.Module):
    """Detects the objects of the images in turn, off by some pixels."""

    def __init__(self, annotations: list[dict[str, torch.Tensor]]) -> None:
        super().__init__()
        self.annotations = annotations

    def forward(self, _images: Any) -> Any:
        objects = self.annotations.pop(0)
        boxes = objects["boxes"] + torch.tensor([0.0, 0.0, 3.0, 3.0])
        scores, masks = boxes.sum(dim=1) / 1000, objects["masks"][:, None].float()
        return [{"labels": objects["labels"], "scores": scores, "masks": masks, "boxes": boxes}]


def test_processes_with_unlike_numbers_of_images_have_the_precision_of_one() -> None:
    make_data(1, 3)
    task: Any = Detection(detection())
    batches, others = prepared(task), list[Any]()
    first, second = batches[::2], batches[1::2]  # the second process has one image
    order = [*batches, *second, *first]
    task.network = Nearly([target for _, targets in order for target in targets])
    expected = task.measure(batches)
    assert 0 < expected["bbox_map"] < 100
    task.processes.world, task.processes.gather = 2, lambda value: [value, *others]
    task.measure(second)
    others.append(copy.deepcopy(task.metric.metric_state))
    assert task.measure(first) == expected


def upernet(arch: str = ARCH, classes: int = 3) -> UperNet:
    normalize = v2.Normalize([0.5] * 3, [0.2] * 3)
    return UperNet(backbone(arch, 64), normalize, classes, head=16)


@pytest.mark.parametrize("arch", [ARCH, "psvit2d:b-----|b-----|b-----|16"])
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


def test_evaluation_counts_what_it_says() -> None:
    make_data(1, 2)
    task = Segmentation(segmentation())

    class First(nn.Module):
        """Finds class 1 everywhere."""

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1).expand(1, 3, *image.shape[-2:])

    task.network = First()
    stored = [np.asarray(Image.open(f)) for f in Path("data/annotations/validation").iterdir()]
    right = sum((classes == 1).sum() for classes in stored)
    counted = sum((classes > 0).sum() for classes in stored)
    values = task.measure(prepared(task))
    assert values["pixel_accuracy"] == pytest.approx(100 * right / counted, abs=1e-3)
    assert values["mean_iou"] == pytest.approx(100 * right / counted / 3, abs=1e-3)


@pytest.mark.parametrize(
    ("arch", "size"),
    [
        ("timm:swin_tiny_patch4_window7_224(depths=[1,1,1,1],embed_dim=24)", (64, 128)),
        ("pit:16,2|1,1,1|1,2,4", (32, 64)),  # of one size
    ],
)
def test_images_that_are_not_square_are_evaluated(arch: str, size: tuple[int, int]) -> None:
    make_data(1, 1)
    network = Network(arch, image_size=64, num_classes=2)
    WeightsFile(network, network.build().state_dict()).write(Path("weights.safetensors"))
    for file in Path("data").glob("*/validation/*.png"):
        Image.open(file).crop((0, 0, 48, 24)).save(file)
    task = Segmentation(segmentation(architecture=None, weights="weights.safetensors"))
    seen = list[torch.Size]()
    task.network.register_forward_pre_hook(lambda _, images: seen.append(images[0].shape))
    values = task.measure(prepared(task))
    assert seen == [(1, 3, *size)]
    assert all(math.isfinite(cast("float", value)) for value in values.values())

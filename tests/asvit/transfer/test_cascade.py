"""Cascade Mask R-CNN: its size, what each stage is trained on, and what is averaged."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.ops import MultiScaleRoIAlign

from asvit.transfer import cascade
from asvit.transfer.cascade import STAGES, CascadeHeads
from asvit.transfer.detector import detector
from asvit.transfer.settings import DetectionSettings

PUBLISHED = 139_000_000  # parameters of As-ViT-L's detector, arXiv:2202.11921
CHANNELS, CLASSES, SIZE = 4, 3, (48, 64)  # classes with the background
FEATURES = {"0": torch.rand(2, CHANNELS, 12, 16)}
SIZES = [SIZE, SIZE]
TARGETS: list[dict[str, Tensor]] = [
    {
        "boxes": torch.tensor([[4.0, 4.0, 30.0, 30.0], [34.0, 10.0, 60.0, 40.0]]),
        "labels": torch.tensor([1, 2]),
        "masks": torch.ones(2, *SIZE, dtype=torch.uint8),
    },
    {
        "boxes": torch.zeros(0, 4),
        "labels": torch.zeros(0, dtype=torch.int64),
        "masks": torch.zeros(0, *SIZE, dtype=torch.uint8),
    },
]


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(("kind", "count"), [("cascade", 138_927_749), ("mask", 106_003_065)])
def test_the_cascade_on_the_largest_network_has_the_published_size(kind: str, count: int) -> None:
    chosen = DetectionSettings(architecture="timm:asvit_large", data="coco", detector=kind)
    with torch.device("meta"):
        model = detector(chosen, 80)
    assert parameters(model) == count
    assert (abs(count - PUBLISHED) < 500_000) == (kind == "cascade")


@pytest.fixture
def heads(monkeypatch: pytest.MonkeyPatch) -> CascadeHeads:
    """Small stages that sample every box."""
    monkeypatch.setattr(cascade, "HIDDEN", 8)
    pools = [MultiScaleRoIAlign(["0"], output_size=side, sampling_ratio=2) for side in (7, 14)]
    none: Any = None
    plain = RoIHeads(
        pools[0], none, none, 0.5, 0.5, 10_000, 1.0, none, 0.0, 0.5, 5, pools[1], none, none
    )
    made = CascadeHeads(plain, CHANNELS, CLASSES)
    for stage in made.stages:  # larger steps than those of fresh weights
        nn.init.normal_(stage.box_predictor.bbox_pred.weight, std=1.0)
    return made


def proposals() -> list[Tensor]:
    """Some near the objects, others anywhere."""
    near = TARGETS[0]["boxes"].repeat(20, 1) + torch.randn(40, 4) * 4
    corners = torch.rand(2, 10, 2) * torch.tensor([40.0, 30.0])
    far = torch.cat([corners, corners + 8], -1)
    return [torch.cat([near, far[0]]), far[1]]


def iou(one: list[float], other: list[float]) -> float:
    across, down = (
        max(0.0, min(one[i + 2], other[i + 2]) - max(one[i], other[i])) for i in (0, 1)
    )
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return across * down / (sum(areas) - across * down)


def moved(box: list[float], move: list[float]) -> list[float]:
    """A box moved as Girshick et al. 2014 (arXiv:1311.2524) write it, within the image."""
    edges = []
    for axis, limit in ((0, SIZE[1]), (1, SIZE[0])):
        length = box[axis + 2] - box[axis]
        middle = box[axis] + length / 2 + length * move[axis]
        length *= math.exp(2 * move[axis + 2])  # its scale is half that of the middle
        edges.append([min(max(middle + half * length, 0.0), limit) for half in (-0.5, 0.5)])
    return [edges[0][0], edges[1][0], edges[0][1], edges[1][1]]


def spied(heads: CascadeHeads, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What each stage is given and chooses in training, and what it makes of the boxes."""
    seen: list[dict[str, Any]] = []
    for stage in heads.stages:
        choose, predict = stage.select_training_samples, stage.box_predictor.forward

        def chosen(boxes: Any, targets: Any, choose: Any = choose) -> Any:
            given = [one.clone() for one in boxes]
            found = choose(boxes, targets)
            seen.append({"given": given, "boxes": found[0], "labels": found[2]})
            return found

        def predicted(features: Tensor, predict: Any = predict) -> Any:
            seen[-1]["deltas"] = predict(features)[1]
            return predict(features)

        monkeypatch.setattr(stage, "select_training_samples", chosen)
        monkeypatch.setattr(stage.box_predictor, "forward", predicted)
    return seen


def test_each_stage_is_trained_on_the_boxes_that_the_one_before_refined(
    heads: CascadeHeads, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = spied(heads, monkeypatch)
    first = proposals()
    _, losses = heads.train()(FEATURES, [one.clone() for one in first], SIZES, TARGETS)
    assert len(seen) == 3
    assert all(torch.equal(a, b) for a, b in zip(seen[0]["given"], first, strict=True))
    for place, (overlap, _, _) in enumerate(STAGES):
        now = seen[place]
        if place:
            before = seen[place - 1]
            moves = iter((before["deltas"][:, :4] / STAGES[place - 1][1]).tolist())
            for boxes, made in zip(before["boxes"], now["given"], strict=True):
                for box, found in zip(boxes.tolist(), made.tolist(), strict=True):
                    assert found == pytest.approx(moved(box, next(moves)), abs=1e-3)
            assert not any(one.requires_grad for one in now["given"])
        for boxes, labels, target in zip(now["boxes"], now["labels"], TARGETS, strict=True):
            for box, label in zip(boxes.tolist(), labels.tolist(), strict=True):
                best = [iou(box, one) for one in target["boxes"].tolist()]
                found = max(best, default=0.0) >= overlap
                wanted = target["labels"][best.index(max(best))].item() if found else 0
                assert label == wanted
    assert set(losses) == {"loss_classifier", "loss_box_reg", "loss_mask"}
    positives = [int((torch.cat(one["labels"]) > 0).sum()) for one in seen]
    assert min(positives) > 0


def test_losses_are_weighted_sums_that_reach_every_parameter(
    heads: CascadeHeads, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = iter([(1.0, 10.0), (2.0, 20.0), (4.0, 40.0)])
    monkeypatch.setattr(cascade, "fastrcnn_loss", lambda *_: map(torch.tensor, next(values)))
    _, losses = heads.train()(FEATURES, proposals(), SIZES, TARGETS)
    assert float(losses["loss_classifier"]) == 1 + 0.5 * 2 + 0.25 * 4
    assert float(losses["loss_box_reg"]) == 10 + 0.5 * 20 + 0.25 * 40
    monkeypatch.undo()
    monkeypatch.setattr(cascade, "HIDDEN", 8)
    _, losses = heads(FEATURES, proposals(), SIZES, TARGETS)
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in heads.parameters())

"""Cascade R-CNN's heads for torchvision's detectors."""

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection.faster_rcnn import TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.roi_heads import (
    RoIHeads,
    fastrcnn_loss,
    maskrcnn_inference,
    maskrcnn_loss,
)
from torchvision.ops import clip_boxes_to_image

#: Of each stage: the IoU with an object from which a box counts as one, the scale of x and y in
#: regression targets, twice that of width and height, and the weight of its losses.
STAGES = ((0.5, 10.0, 1.0), (0.6, 20.0, 0.5), (0.7, 30.0, 0.25))
LOSSES = ("loss_classifier", "loss_box_reg", "loss_mask")
HIDDEN = 1024  # features of a box head
MASKS = 256  # channels of a mask head

Boxes = list[Tensor]  # of each image, [n, 4]: left, top, right, bottom in pixels
Objects = list[dict[str, Tensor]]  # of each image
Sizes = list[tuple[int, int]]  # height and width of each image


class AgnosticPredictor(nn.Module):
    """Class logits, and one refinement of a box, repeated for all classes as heads expect it."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.cls_score = nn.Linear(channels, classes)
        self.bbox_pred = nn.Linear(channels, 4)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """``[n, channels]`` -> ``[n, classes]`` and ``[n, 4 * classes]``."""
        logits: Tensor = self.cls_score(features)
        return logits, self.bbox_pred(features).repeat(1, logits.shape[1])


class CascadeHeads(nn.Module):
    """Three stages, each with a box head and a mask head, in place of a Mask R-CNN's heads.

    A stage refines the boxes of the one before, and is trained to find objects by a higher
    overlap. Class scores and masks are averages over the stages, boxes are the last one's. Pooling
    and thresholds are those of the ``plain`` heads; ``classes`` count the background.

    References:
        Cai and Vasconcelos 2018, "Cascade R-CNN: Delving into High Quality Object Detection",
        arXiv:1712.00726; with masks 2019, arXiv:1906.09756.
    """

    def __init__(self, plain: RoIHeads, channels: int, classes: int) -> None:
        super().__init__()
        height, width = plain.box_roi_pool.output_size
        self.stages: Any = nn.ModuleList(
            RoIHeads(
                plain.box_roi_pool,
                TwoMLPHead(channels * height * width, HIDDEN),
                AgnosticPredictor(HIDDEN, classes),
                *(overlap, overlap),
                plain.fg_bg_sampler.batch_size_per_image,
                plain.fg_bg_sampler.positive_fraction,
                (scale, scale, scale / 2, scale / 2),
                *(plain.score_thresh, plain.nms_thresh, plain.detections_per_img),
                plain.mask_roi_pool,
                MaskRCNNHeads(channels, (MASKS,) * 4, 1),
                MaskRCNNPredictor(MASKS, MASKS, classes),
            )
            for overlap, scale, _ in STAGES
        )

    def forward(
        self, features: dict[str, Tensor], boxes: Boxes, sizes: Sizes, targets: Any = None
    ) -> tuple[Objects, dict[str, Tensor]]:
        """As torchvision's heads: the objects found in evaluation, losses by name in training."""

        def masks(stage: RoIHeads, regions: Boxes) -> Tensor:
            pooled = stage.mask_roi_pool(features, regions, sizes)
            logits: Tensor = stage.mask_predictor(stage.mask_head(pooled))
            return logits

        scores: list[Tensor] = []
        losses: dict[str, Tensor] = {}
        for stage, (_, _, weight) in zip(self.stages, STAGES, strict=True):
            if self.training:
                boxes, matches, labels, wanted = stage.select_training_samples(boxes, targets)
            pooled = stage.box_roi_pool(features, boxes, sizes)
            logits, deltas = stage.box_predictor(stage.box_head(pooled))
            if self.training:
                # Masks are learnt in boxes that count as objects.
                regions, objects = (
                    [one[label > 0] for one, label in zip(ones, labels, strict=True)]
                    for ones in (boxes, matches)
                )
                truth = ([target[name] for target in targets] for name in ("masks", "labels"))
                found = (
                    *fastrcnn_loss(logits, deltas, labels, wanted),
                    maskrcnn_loss(masks(stage, regions), regions, *truth, objects),
                )
                for name, loss in zip(LOSSES, found, strict=True):
                    losses[name] = losses.get(name, 0) + weight * loss
            scores.append(logits.softmax(-1))
            given, boxes = boxes, refined(stage, boxes, deltas, sizes)
        if self.training:
            return [], losses
        # The last stage takes a softmax, which the logarithm undoes.
        mean = torch.stack(scores).mean(0).log()
        boxes, best, classes = stage.postprocess_detections(mean, deltas, given, sizes)
        drawn = (maskrcnn_inference(masks(stage, boxes), classes) for stage in self.stages)
        shapes = [torch.stack(of_image).mean(0) for of_image in zip(*drawn, strict=True)]
        names = ("boxes", "scores", "labels", "masks")
        images = zip(boxes, best, classes, shapes, strict=True)
        return [dict(zip(names, image, strict=True)) for image in images], {}


def refined(stage: RoIHeads, boxes: Boxes, deltas: Tensor, sizes: Sizes) -> Boxes:
    """The boxes as a stage refines them, within the images; without gradients."""
    moved = stage.box_coder.decode(deltas.detach(), boxes)[:, 0]
    parts = moved.split([len(one) for one in boxes])
    return [clip_boxes_to_image(one, size) for one, size in zip(parts, sizes, strict=True)]

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

#: Of each stage: the least IoU of a box with its object, the scale of x and y in regression
#: targets (twice that of width and height), and the weight of its losses.
STAGES = ((0.5, 10.0, 1.0), (0.6, 20.0, 0.5), (0.7, 30.0, 0.25))
LOSSES = ("loss_classifier", "loss_box_reg", "loss_mask")
HIDDEN = 1024  # features of a box head
MASKS = 256  # channels of a mask head

Boxes = list[Tensor]  # of each image, [n, 4]: left, top, right, bottom in pixels
Objects = list[dict[str, Tensor]]  # of each image
Sizes = list[tuple[int, int]]  # height and width of each image


class AgnosticPredictor(nn.Module):
    """Class logits, and a class-agnostic refinement of boxes, repeated for each class."""

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

    A stage refines the boxes of the previous stage and is trained with a higher overlap. Class
    scores and masks are averages over the stages, boxes are those of the last. Pooling and
    thresholds are those of the ``plain`` heads; ``classes`` includes the background.

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
        """As torchvision's heads: detected objects in evaluation, losses by name in training."""

        def masks(stage: RoIHeads, regions: Boxes) -> Tensor:
            pooled = stage.mask_roi_pool(features, regions, sizes)
            logits: Tensor = stage.mask_predictor(stage.mask_head(pooled))
            return logits

        scores: list[Tensor] = []
        losses: dict[str, Tensor] = {}
        for stage, (_, _, weight) in zip(self.stages, STAGES, strict=True):
            if self.training:
                boxes, matches, labels, offsets = stage.select_training_samples(boxes, targets)
            pooled = stage.box_roi_pool(features, boxes, sizes)
            logits, deltas = stage.box_predictor(stage.box_head(pooled))
            if self.training:
                # Only boxes of objects train masks.
                regions, objects = (
                    [values[label > 0] for values, label in zip(images, labels, strict=True)]
                    for images in (boxes, matches)
                )
                truth = ([target[name] for target in targets] for name in ("masks", "labels"))
                stage_losses = (
                    *fastrcnn_loss(logits, deltas, labels, offsets),
                    maskrcnn_loss(masks(stage, regions), regions, *truth, objects),
                )
                for name, loss in zip(LOSSES, stage_losses, strict=True):
                    losses[name] = losses.get(name, 0) + weight * loss
            scores.append(logits.softmax(-1))
            proposals, boxes = boxes, refined(stage, boxes, deltas, sizes)
        if self.training:
            return [], losses
        # The last stage applies a softmax, which the logarithm undoes.
        mean = torch.stack(scores).mean(0).log()
        boxes, best, classes = stage.postprocess_detections(mean, deltas, proposals, sizes)
        shapes = (maskrcnn_inference(masks(stage, boxes), classes) for stage in self.stages)
        averages = [torch.stack(image).mean(0) for image in zip(*shapes, strict=True)]
        names = ("boxes", "scores", "labels", "masks")
        images = zip(boxes, best, classes, averages, strict=True)
        return [dict(zip(names, image, strict=True)) for image in images], {}


def refined(stage: RoIHeads, boxes: Boxes, deltas: Tensor, sizes: Sizes) -> Boxes:
    """The boxes refined by a stage and clipped to the images; without gradients."""
    moved = stage.box_coder.decode(deltas.detach(), boxes)[:, 0]
    parts = moved.split([len(part) for part in boxes])
    return [clip_boxes_to_image(part, size) for part, size in zip(parts, sizes, strict=True)]

"""Trains Mask R-CNN on a network of ours, or of timm's, on images in COCO's format.

Run from a checkout: ``python -m experiments.train_detection ARCH --data FOLDER``, or on eight
devices with ``torchrun --nproc-per-node 8 -m`` in place of ``python -m``. FOLDER holds
``annotations/instances_train2017.json``, ``annotations/instances_val2017.json`` and the images in
``train2017`` and ``val2017``. Every epoch ends with a checkpoint in the run folder and one JSON
line of metrics on stdout; a stopped training goes on when the command is given again.

Defaults: AdamW as Swin's detectors were trained (arXiv 2103.14030), 36 epochs with a tenth of the
learning rate from epochs 28 and 34 on, and large-scale jitter (arXiv 2012.07177) at 1024 px, the
published image size of As-ViT-L. What else the paper did for its detector is not known.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from torchvision import tv_tensors
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import MultiScaleRoIAlign
from torchvision.transforms import v2

from asvit.networks.pyramid import PyramidWithFpn
from asvit.settings import check_number, check_whole
from asvit.training.distributed import ProcessGroup
from experiments.transfer_data import CocoImages, Sample, library
from experiments.transfer_run import Metrics, train_as_asked
from experiments.transfer_settings import (
    TransferSettings,
    at_steps,
    call,
    normalisation,
    options_of,
    pyramid_of,
)

MARKS = (27 / 36, 33 / 36)  # shares of the training, after each of which the rate is a tenth
MEASURES = ("map", "map_50", "map_75")


@dataclass(frozen=True)
class DetectionSettings(TransferSettings):
    """What a training of a detector is asked; the others are those of every transfer.

    Attributes:
        train: Split to train on.
        validation: Split to evaluate on.
        anchor: Side of the anchors of a map over its stride.
        fpn: Channels of the feature pyramid network.
        regions: Regions of an image that the heads learn from in a step.
    """

    train: str
    validation: str
    anchor: float
    fpn: int
    regions: int

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("anchor", self.anchor, 64, zero=False)
        check_whole(self, {"fpn": 1, "regions": 4})


def detector(
    settings: DetectionSettings, classes: int, *, grad_checkpointing: bool = False
) -> MaskRCNN:
    """Mask R-CNN with a feature pyramid network, for so many classes.

    In training it takes images ``[3, H, W]`` from 0 to 1 and their objects, and gives losses by
    name; else it takes images, and gives the objects found in each.

    References:
        He et al. 2017, "Mask R-CNN", arXiv:1703.06870.
    """
    body = cast(
        "PyramidWithFpn",
        pyramid_of(settings, fpn=settings.fpn, grad_checkpointing=grad_checkpointing),
    )
    mean, std = normalisation(settings)
    sides = tuple((round(settings.anchor * stride),) for stride in body.strides)
    names = [str(level) for level in range(len(body.strides) - 1)]  # the pooled map is for anchors
    return MaskRCNN(
        body,
        classes + 1,  # and none
        min_size=settings.image_size,
        max_size=settings.image_size,
        image_mean=list(mean),
        image_std=list(std),
        rpn_anchor_generator=AnchorGenerator(sides, ((0.5, 1.0, 2.0),) * len(sides)),
        box_batch_size_per_image=settings.regions,
        box_roi_pool=MultiScaleRoIAlign(names, output_size=7, sampling_ratio=2),
        mask_roi_pool=MultiScaleRoIAlign(names, output_size=14, sampling_ratio=2),
    )


class Detection:
    """The training of a detector, as :class:`experiments.transfer_run.Task` has it."""

    def __init__(self, settings: DetectionSettings, *, grad_checkpointing: bool = False) -> None:
        self._settings = settings
        self.images = CocoImages(Path(settings.data), settings.train)
        self._validation = CocoImages(Path(settings.data), settings.validation, crowds=True)
        if self.images.classes != self._validation.classes:
            raise ValueError(
                f"{settings.train} has the classes {', '.join(self.images.classes)}, and "
                f"{settings.validation} has {', '.join(self._validation.classes)}; use the same"
            )
        self.places = self.images.with_objects
        self.model: nn.Module = detector(
            settings, len(self.images.classes), grad_checkpointing=grad_checkpointing
        )
        side = (settings.image_size, settings.image_size)
        self.transform = v2.Compose(
            [
                v2.RandomHorizontalFlip(),
                v2.ScaleJitter(side, settings.scale, antialias=True),
                v2.RandomCrop(side, pad_if_needed=True),
                v2.SanitizeBoundingBoxes(),
                v2.ToDtype({tv_tensors.Image: torch.float32, "others": None}, scale=True),
            ]
        )

    def batch(self, samples: list[Sample], device: torch.device) -> tuple[Any, Any]:
        """Lists of images and of their objects."""
        wanted = ("boxes", "labels", "masks")
        targets = [{name: target[name].to(device) for name in wanted} for _, target in samples]
        return [image.to(device) for image, _ in samples], targets

    def pace(self, step: int, steps: int) -> float:
        """In steps, after a warm-up."""
        return at_steps(step, steps, warmup=self._settings.warmup, marks=MARKS)

    @torch.inference_mode()
    def evaluate(self, processes: ProcessGroup) -> Metrics:
        """Average precision of boxes and masks, as COCO defines it, in per cent."""
        metric = library("torchmetrics.detection").MeanAveragePrecision(
            iou_type=("bbox", "segm"), backend="pycocotools"
        )
        metric.to(processes.device)
        self.model.eval()
        for place in range(processes.rank, len(self._validation), processes.world):
            image, target = self._validation[place]
            found = self.model([v2.functional.to_dtype(image, scale=True).to(processes.device)])[0]
            found["masks"] = found["masks"][:, 0] > 0.5
            target = {name: value.to(processes.device) for name, value in target.items()}
            metric.update([found], [{**target, "masks": target["masks"].bool()}])
        values = metric.compute()
        return {
            f"{name}_{measure}": round(100 * float(values[f"{kind}_{measure}"]), 3)
            for name, kind in (("box", "bbox"), ("mask", "segm"))
            for measure in MEASURES
        }


def run(options: argparse.Namespace) -> None:
    """Train as the command line asks."""
    settings = DetectionSettings.of(options)
    train_as_asked(
        lambda: Detection(settings, grad_checkpointing=options.grad_checkpointing),
        settings,
        options,
    )


def main() -> int:
    """The command line."""
    made = options_of(
        __doc__,
        "runs/detection",
        image_size=1024,
        epochs=36,
        batch_size=16,
        learning_rate=1e-4,
        weight_decay=0.05,
        warmup=500,
        drop_path=0.2,
        frozen_stages=0,
        windows=0,
        clip=0.0,
        seed=0,
        scale=(0.1, 2.0),
    )
    made.add_argument("--train", default="train2017", metavar="SPLIT", help="split to train on")
    made.add_argument("--validation", default="val2017", metavar="SPLIT", help="and to evaluate")
    made.add_argument("--anchor", type=float, default=8.0, metavar="X", help="anchors over stride")
    made.add_argument("--fpn", type=int, default=256, metavar="N", help="channels of the pyramid")
    made.add_argument("--regions", type=int, default=512, metavar="N", help="to learn from, each")
    return call(made, run)


if __name__ == "__main__":
    sys.exit(main())

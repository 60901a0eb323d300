"""Trains Mask R-CNN or its cascade on COCO's format, on any of our networks or timm's.

Run from a checkout: ``python -m experiments.train_detection ARCH --data FOLDER``, or on eight
devices with ``torchrun --nproc-per-node 8 -m`` instead of ``python -m``. FOLDER holds
``annotations/instances_train2017.json``, ``annotations/instances_val2017.json`` and the images in
``train2017`` and ``val2017``. Every epoch writes a checkpoint to the run folder and one line of
JSON metrics to stdout; a stopped training resumes when the command is given again.

Defaults: AdamW as Swin's detectors were trained (arXiv 2103.14030), 36 epochs with a tenth of the
learning rate from epochs 28 and 34 on, and large-scale jitter (arXiv 2012.07177) at 1024 px, the
published image size of As-ViT-L, whose detector was a cascade by its size (``--detector
cascade``). What else the paper did for its detector is not known.
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

from asvit.core.settings import setting
from asvit.networks.pyramid import PyramidWithFpn
from asvit.training.distributed import ProcessGroup
from experiments.cascade_rcnn import CascadeHeads
from experiments.transfer_data import CocoImages, Sample, library
from experiments.transfer_run import Metrics, train_from_options
from experiments.transfer_settings import (
    TransferSettings,
    build_pyramid,
    make_parser,
    normalisation,
    run_cli,
    step_decay,
)

MARKS = (27 / 36, 33 / 36)  # of the training; after each, the learning rate is divided by 10
MEASURES = ("map", "map_50", "map_75")


@dataclass(frozen=True)
class DetectionSettings(TransferSettings):
    """Settings of a detector, in addition to those of every transfer."""

    train: str = setting(..., "Split to train on.")
    validation: str = setting(..., "Split to evaluate on.")
    anchor: float = setting(
        ..., "Side of the anchors relative to the stride of their map.", above=0, below=64
    )
    fpn: int = setting(..., "Channels of the feature pyramid network.", at_least=1)
    regions: int = setting(..., "Regions per image that train the heads in a step.", at_least=4)
    detector: str = setting(
        "mask", "Mask R-CNN (mask) or Cascade Mask R-CNN (cascade).", choices=("mask", "cascade")
    )


def detector(
    settings: DetectionSettings, classes: int, *, grad_checkpointing: bool = False
) -> MaskRCNN:
    """A detector with a feature pyramid network.

    In training it maps images ``[3, H, W]`` in [0, 1] and their objects to losses by name; in
    evaluation, images to the objects found in each.

    References:
        He et al. 2017, "Mask R-CNN", arXiv:1703.06870, and for a cascade :class:`CascadeHeads`.
    """
    body = cast(
        "PyramidWithFpn",
        build_pyramid(settings, fpn=settings.fpn, grad_checkpointing=grad_checkpointing),
    )
    mean, std = normalisation(settings)
    sides = tuple((round(settings.anchor * stride),) for stride in body.strides)
    names = [
        str(level) for level in range(len(body.strides) - 1)
    ]  # the pooled level serves anchors only
    model = MaskRCNN(
        body,
        classes + 1,  # and the background
        min_size=settings.image_size,
        max_size=settings.image_size,
        image_mean=list(mean),
        image_std=list(std),
        rpn_anchor_generator=AnchorGenerator(sides, ((0.5, 1.0, 2.0),) * len(sides)),
        box_batch_size_per_image=settings.regions,
        box_roi_pool=MultiScaleRoIAlign(names, output_size=7, sampling_ratio=2),
        mask_roi_pool=MultiScaleRoIAlign(names, output_size=14, sampling_ratio=2),
    )
    if settings.detector == "cascade":
        model.roi_heads = CascadeHeads(model.roi_heads, settings.fpn, classes + 1)
    return model


class Detection:
    """Detection as a :class:`experiments.transfer_run.Task`."""

    def __init__(self, settings: DetectionSettings, *, grad_checkpointing: bool = False) -> None:
        self._settings = settings
        self.images = CocoImages(Path(settings.data), settings.train)
        self._validation = CocoImages(Path(settings.data), settings.validation, crowds=True)
        if self.images.classes != self._validation.classes:
            raise ValueError(
                f"{settings.train} has the classes {', '.join(self.images.classes)}, and "
                f"{settings.validation} has {', '.join(self._validation.classes)}; use the same"
            )
        self.indices = self.images.with_objects
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
        """A list of images, and a list of their objects."""
        names = ("boxes", "labels", "masks")
        targets = [{name: target[name].to(device) for name in names} for _, target in samples]
        return [image.to(device) for image, _ in samples], targets

    def lr_factor(self, step: int, steps: int) -> float:
        """Warm-up, then step decay."""
        return step_decay(step, steps, warmup=self._settings.warmup, marks=MARKS)

    @torch.inference_mode()
    def evaluate(self, processes: ProcessGroup) -> Metrics:
        """COCO's average precision of boxes and masks, per cent."""
        metric = library("torchmetrics.detection").MeanAveragePrecision(
            iou_type=("bbox", "segm"), backend="pycocotools"
        )
        metric.to(processes.device)
        self.model.eval()
        for index in range(processes.rank, len(self._validation), processes.world):
            image, target = self._validation[index]
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
    """Train with parsed options."""
    settings = DetectionSettings.of(options)
    train_from_options(
        lambda: Detection(settings, grad_checkpointing=options.grad_checkpointing),
        settings,
        options,
    )


def main() -> int:
    """Parse the command line and train."""
    parser = make_parser(
        DetectionSettings,
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
        train="train2017",
        validation="val2017",
        anchor=8.0,
        fpn=256,
        regions=512,
        detector=DetectionSettings.detector,
    )
    return run_cli(parser, run)


if __name__ == "__main__":
    sys.exit(main())

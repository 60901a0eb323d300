"""Trains UperNet for semantic segmentation, with any of our networks or timm's as backbone.

Run from a checkout: ``python -m experiments.train_segmentation ARCH --data FOLDER``, or on
eight devices with ``torchrun --nproc-per-node 8 -m`` instead of ``python -m``. FOLDER is in
ADE20K's format: ``images/training``, ``images/validation``, and the same in ``annotations``,
where a picture of the same name numbers the classes of its pixels from 1, with 0 for none. Every
epoch writes a checkpoint to the run folder and one line of JSON metrics to stdout; a stopped
training resumes when the command is given again.

Defaults: as Swin was trained under UperNet (arXiv 2103.14030), of which 160,000 steps of 16
images are 127 epochs of ADE20K. No result of As-ViT in segmentation is published.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision import tv_tensors
from torchvision.transforms import v2

from asvit.core.settings import setting
from asvit.networks.pyramid import Pyramid
from asvit.training.distributed import ProcessGroup
from experiments.transfer_data import IGNORED, Sample, SceneImages, library
from experiments.transfer_run import Metrics, train_from_options
from experiments.transfer_settings import (
    TransferSettings,
    build_pyramid,
    linear_decay,
    make_parser,
    normalisation,
    run_cli,
)

AUXILIARY = 0.4  # weight of the loss of the auxiliary head
SIZES = 16  # sides to choose from in random resizing


@dataclass(frozen=True)
class SegmentationSettings(TransferSettings):
    """Settings of a segmenter, in addition to those of every transfer."""

    batch_size: int = setting(..., "Images of a step, over all processes.", at_least=2)
    classes: int = setting(..., "Number of classes.", at_least=2, at_most=IGNORED)
    train: str = setting(..., "Split to train on; empty for a folder without splits.", convert=str)
    validation: str = setting(
        ..., "Split to evaluate on; empty for a folder without splits.", convert=str
    )
    head: int = setting(
        ..., "Channels of UperNet's head; the auxiliary head has half as many.", at_least=2
    )


class UperNet(nn.Module):
    """UperNet on a feature pyramid, with an auxiliary head on the second coarsest map.

    Args:
        pyramid: The pyramid.
        classes: Number of classes.
        head: Channels of the head.
        mean, std: Normalisation of pixels in [0, 1].

    Raises:
        ImportError: If transformers is not installed.

    References:
        Xiao et al. 2018, "Unified Perceptual Parsing for Scene Understanding", arXiv:1807.10221.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        pyramid: Pyramid,
        classes: int,
        *,
        head: int,
        mean: tuple[float, ...],
        std: tuple[float, ...],
    ) -> None:
        super().__init__()
        # The full model of transformers builds its own backbone, so use its heads only.
        parts = library("transformers.models.upernet.modeling_upernet")
        config = library("transformers").UperNetConfig(
            num_labels=classes, hidden_size=head, auxiliary_channels=head // 2
        )
        self.backbone = pyramid
        self.decode_head: nn.Module = parts.UperNetHead(config, pyramid.channels)
        self.auxiliary_head: nn.Module = parts.UperNetFCNHead(
            config, pyramid.channels, in_index=max(len(pyramid.channels) - 2, 0)
        )
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, image: Tensor, labels: Tensor | None = None) -> Tensor | dict[str, Tensor]:
        """Logits ``[B, classes, H, W]`` of images ``[B, 3, H, W]`` in [0, 1], or losses by name.

        Args:
            image: The images.
            labels: ``[B, H, W]`` int64, 255 for no class; None returns the logits.
        """
        maps = list(self.backbone((image - self.mean) / self.std).values())
        logits = _upsampled(self.decode_head(maps), image)
        if labels is None:
            return logits
        auxiliary = _upsampled(self.auxiliary_head(maps), image)
        return {
            "loss_decode": _cross_entropy(logits, labels),
            "loss_auxiliary": AUXILIARY * _cross_entropy(auxiliary, labels),
        }


def _upsampled(logits: Tensor, image: Tensor) -> Tensor:
    return F.interpolate(logits.float(), size=image.shape[-2:], mode="bilinear")


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over the pixels with a class; 0, not NaN, if there are none."""
    total = F.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum")
    return total / (labels != IGNORED).sum().clamp(min=1)


class Segmentation:
    """Segmentation as a :class:`experiments.transfer_run.Task`."""

    def __init__(
        self, settings: SegmentationSettings, *, grad_checkpointing: bool = False
    ) -> None:
        self._settings = settings
        folder, classes, side = Path(settings.data), settings.classes, settings.image_size
        self.images = SceneImages(folder, settings.train, classes=classes)
        self._validation = SceneImages(folder, settings.validation, classes=classes)
        self.indices = range(len(self.images))
        mean, std = normalisation(settings)
        pyramid = cast("Pyramid", build_pyramid(settings, grad_checkpointing=grad_checkpointing))
        self.model: nn.Module = UperNet(pyramid, classes, head=settings.head, mean=mean, std=std)
        least, most = settings.scale
        sides = [
            max(round(side * (least + (most - least) * i / (SIZES - 1))), 1) for i in range(SIZES)
        ]
        self.transform = v2.Compose(
            [
                v2.RandomShortestSize(sides, antialias=True),
                v2.RandomCrop(
                    side,
                    pad_if_needed=True,
                    fill={tv_tensors.Image: 0, tv_tensors.Mask: IGNORED},
                ),
                v2.RandomHorizontalFlip(),
                v2.RandomPhotometricDistort(),
                v2.ToDtype({tv_tensors.Image: torch.float32, "others": None}, scale=True),
            ]
        )

    def batch(self, samples: list[Sample], device: torch.device) -> tuple[Tensor, Tensor]:
        """Images ``[B, 3, S, S]`` and labels ``[B, S, S]``."""
        images = torch.stack([image for image, _ in samples])
        labels = torch.stack([classes[0] for _, classes in samples])
        return images.to(device), labels.to(device).long()

    def lr_factor(self, step: int, steps: int) -> float:
        """Warm-up, then linear decay."""
        return linear_decay(step, steps, warmup=self._settings.warmup)

    @torch.inference_mode()
    def evaluate(self, processes: ProcessGroup) -> Metrics:
        """Mean intersection over union and pixel accuracy, per cent.

        The shorter side of an image is resized to the image size. Classes that are neither in the
        labels nor predicted do not count.
        """
        metrics = library("torchmetrics.classification")
        count = self._settings.classes
        confusion = metrics.MulticlassConfusionMatrix(count, ignore_index=IGNORED)
        confusion.to(processes.device)
        self.model.eval()
        for index in range(processes.rank, len(self._validation), processes.world):
            image, classes = self._validation[index]
            labels = classes.to(processes.device).long()
            small = v2.functional.resize(image, [self._settings.image_size], antialias=True)
            small = v2.functional.to_dtype(small, scale=True).to(processes.device)
            logits = _upsampled(self.model(small[None]), labels)
            confusion.update(logits.argmax(dim=1), labels)
        pairs = confusion.compute().double()
        correct, union = pairs.diag(), pairs.sum(0) + pairs.sum(1) - pairs.diag()
        seen = union > 0
        return {
            "mean_iou": round(100 * float((correct[seen] / union[seen]).mean()), 3),
            "pixel_accuracy": round(100 * float(correct.sum() / pairs.sum()), 3),
        }


def run(options: argparse.Namespace) -> None:
    """Train with parsed options."""
    settings = SegmentationSettings.of(options)
    train_from_options(
        lambda: Segmentation(settings, grad_checkpointing=options.grad_checkpointing),
        settings,
        options,
    )


def main() -> int:
    """Parse the command line and train."""
    parser = make_parser(
        SegmentationSettings,
        __doc__,
        "runs/segmentation",
        image_size=512,
        epochs=127,
        batch_size=16,
        learning_rate=6e-5,
        weight_decay=0.01,
        warmup=1500,
        drop_path=0.2,
        frozen_stages=0,
        windows=0,
        clip=0.0,
        seed=0,
        scale=(0.5, 2.0),
        classes=150,
        train="training",
        validation="validation",
        head=512,
    )
    return run_cli(parser, run)


if __name__ == "__main__":
    sys.exit(main())

"""UperNet on a feature pyramid, and its training as a task."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision import tv_tensors
from torchvision.transforms import v2

from asvit.networks.pyramid import Pyramid, PyramidWithFpn
from asvit.training.distributed import ProcessGroup
from asvit.transfer.datasets import Sample, SceneImages, library
from asvit.transfer.session import Task, build_pyramid, tinted
from asvit.transfer.settings import IGNORED, SegmentationSettings

AUXILIARY = 0.4  # weight of the loss of the auxiliary head
SIZES = 16  # sides to choose from in random resizing


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
        pyramid: Pyramid | PyramidWithFpn,
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


class Segmentation(Task[SegmentationSettings]):
    """The training of a segmenter on images in ADE20K's format."""

    def __init__(self, settings: SegmentationSettings) -> None:
        super().__init__(settings)
        self._metrics = library("torchmetrics.classification")
        folder, self.classes, side = Path(settings.data), settings.classes, settings.image_size
        self.images = SceneImages(folder, settings.train, classes=self.classes)
        self.validation = SceneImages(folder, settings.validation, classes=self.classes)
        self.indices = range(len(self.images))
        pyramid, mean, std = build_pyramid(settings)
        self.model = UperNet(pyramid, self.classes, head=settings.head, mean=mean, std=std)
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

    def decay(self, step: int, steps: int) -> float:
        """Linear to 0."""
        return 1 - step / steps

    @torch.no_grad()
    def evaluate(self, processes: ProcessGroup) -> dict[str, float]:
        """Mean intersection over union and pixel accuracy.

        Classes that are neither in the labels nor predicted do not count.
        """
        metrics = {
            "mean_iou": self._metrics.MulticlassJaccardIndex(self.classes, ignore_index=IGNORED),
            "pixel_accuracy": self._metrics.MulticlassAccuracy(
                self.classes, average="micro", ignore_index=IGNORED
            ),
        }
        for found, labels in self.predictions(processes):
            for metric in metrics.values():
                metric.to(processes.device)
                metric.update(found, labels.to(processes.device).long())
        return {name: round(100 * float(one.compute()), 3) for name, one in metrics.items()}

    def predict(self, image: Tensor, device: torch.device) -> Tensor:
        """The class of each pixel, ``[1, H, W]``, with the shorter side at the image size."""
        small = v2.functional.resize(image, [self.settings.image_size], antialias=True)
        small = v2.functional.to_dtype(small, scale=True).to(device)
        found: Tensor = tv_tensors.Mask(_upsampled(self.model(small[None]), image).argmax(dim=1))
        return found

    def draw(self, image: Tensor, annotation: Tensor) -> Tensor:
        """The classes as colours, pixels without a class as they are."""
        present = [label for label in annotation.unique().tolist() if label != IGNORED]
        return tinted(image, {label: annotation[0].cpu() == label for label in present})

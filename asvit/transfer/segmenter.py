"""UperNet on a feature pyramid, and its training as a task."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision import tv_tensors
from torchvision.transforms import v2

from asvit.core.files import expanded
from asvit.networks.pyramid import Pyramid
from asvit.training.augmentation import to_device
from asvit.transfer.datasets import SceneImages
from asvit.transfer.settings import IGNORED, SegmentationRow, SegmentationSettings
from asvit.transfer.task import Start, Transfer

AUXILIARY = 0.4  # weight of the loss of the auxiliary head
SIZES = 16  # number of sides in random resizing


class UperNet(nn.Module):
    """UperNet on a feature pyramid, with an auxiliary head on the second coarsest map.

    Only the heads are from transformers, whose full model builds its own backbone.
    Images are normalised from pixels in [0, 1]; ``head`` is the channels of the head.

    References:
        Xiao et al. 2018, "Unified Perceptual Parsing for Scene Understanding", arXiv:1807.10221.
    """

    def __init__(self, pyramid: Pyramid, normalize: nn.Module, classes: int, *, head: int) -> None:
        from transformers import UperNetConfig
        from transformers.models.upernet.modeling_upernet import UperNetFCNHead, UperNetHead

        super().__init__()
        config: Any = UperNetConfig(hidden_size=head, auxiliary_channels=head // 2)
        config.num_labels = classes
        self.normalize, self.backbone = normalize, pyramid
        self.decode_head = UperNetHead(config, pyramid.channels)
        level = max(len(pyramid.channels) - 2, 0)
        self.auxiliary_head = UperNetFCNHead(config, pyramid.channels, in_index=level)

    def forward(self, image: Tensor, labels: Tensor | None = None) -> Tensor | dict[str, Tensor]:
        """Logits ``[B, classes, H, W]`` of images ``[B, 3, H, W]`` in [0, 1], or losses by name.

        Labels are ``[B, H, W]`` int64, 255 for no class; without them, logits are returned.
        """
        maps = list(self.backbone(self.normalize(image)).values())
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


class Colours(v2.RandomPhotometricDistort):  # type: ignore[misc]
    """torchvision's random brightness, contrast, saturation and hue; channels stay in order."""

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """As the base does, without another order of channels."""
        return {**super().make_params(flat_inputs), "channel_permutation": None}


class Segmentation(Transfer[SegmentationSettings]):
    """The training of a segmenter on images in ADE20K's format."""

    row_type = SegmentationRow
    least_images = 2  # the head normalises means of whole images, which need others beside them

    def __init__(self, settings: SegmentationSettings, start: Start | None = None) -> None:
        from torchmetrics import MetricCollection
        from torchmetrics.classification import MulticlassAccuracy, MulticlassJaccardIndex

        super().__init__(settings, start)
        folder, self.classes = expanded(settings.data), settings.classes
        side = settings.image_size
        self.images = SceneImages(folder, settings.train, classes=self.classes)
        self.validation = SceneImages(folder, settings.validation, classes=self.classes)
        pyramid = self.start.pyramid(settings)
        normalize = v2.Normalize(self.start.normalisation.mean, self.start.normalisation.std)
        self.network = UperNet(pyramid, normalize, self.classes, head=settings.head)
        options: Any = {
            "num_classes": self.classes,
            "ignore_index": IGNORED,
            "validate_args": False,  # by sorting all pixels; the images check their labels
        }
        # Classes that are neither in the labels nor predicted do not count.
        self.metric = MetricCollection(
            {
                "mean_iou": MulticlassJaccardIndex(**options),
                "pixel_accuracy": MulticlassAccuracy(**options, average="micro"),
            }
        )
        # A network of one size pads smaller images, and refuses larger ones.
        one_size = pyramid.fixed_size is not None
        self._resize = v2.Resize(None, max_size=side) if one_size else v2.Resize(side)
        sides = (side * torch.linspace(*settings.scale, SIZES)).round().clamp(min=1)
        self.transform = v2.Compose(
            [
                v2.RandomShortestSize(sides.int().tolist(), antialias=True),
                v2.RandomCrop(
                    side,
                    pad_if_needed=True,
                    fill={tv_tensors.Image: 0, tv_tensors.Mask: IGNORED},
                ),
                v2.RandomHorizontalFlip(),
                Colours(hue=(-0.1, 0.1)),
                v2.ToDtype({tv_tensors.Image: torch.float32, "others": None}, scale=True),
            ]
        )

    def moved(self, images: list[Tensor], targets: list[Any], device: torch.device) -> Any:
        """Images ``[B, 3, S, S]`` and labels ``[B, S, S]``."""
        pixels, labels = ([to_device(one, device) for one in part] for part in (images, targets))
        return torch.stack(pixels), torch.cat(labels).long()

    def decay(self, done: float) -> float:
        """None beside that of the schedule."""
        return 1.0

    def schedule(self, epochs: int) -> Callable[[int], float]:
        """As the base has it, times a line to 0 from the beginning of the training."""
        warmed, updates = super().schedule(epochs), epochs * self.steps
        return lambda update: warmed(update) * (1 - update / updates)

    def compare(self, image: Tensor, annotation: Tensor) -> None:
        """Update the metrics with the class of each pixel of the resized image."""
        logits = _upsampled(self.network(self._resize(image)[None]), image)
        self.metric.update(logits.argmax(dim=1), annotation.to(logits.device).long())

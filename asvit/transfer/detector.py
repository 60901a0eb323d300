"""Mask R-CNN and Cascade Mask R-CNN on a feature pyramid, and their training as a task."""

from collections import OrderedDict
from itertools import chain, zip_longest
from typing import Any

import torch
from torch import Tensor, nn
from torchvision import tv_tensors
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import MultiScaleRoIAlign
from torchvision.transforms import v2

from asvit.core.files import expanded
from asvit.networks.pyramid import Pyramid, PyramidWithFpn
from asvit.training.augmentation import to_device
from asvit.training.precision import autocast
from asvit.transfer.cascade import CascadeHeads
from asvit.transfer.datasets import CocoImages
from asvit.transfer.settings import DetectionRow, DetectionSettings
from asvit.transfer.task import Start, Transfer

MARKS = (27 / 36, 33 / 36)  # fractions of the training; each divides the learning rate by 10


def detector(settings: DetectionSettings, classes: int, start: Start | None = None) -> MaskRCNN:
    """A detector with a feature pyramid network, by default as the settings say.

    In training it maps images ``[3, H, W]`` in [0, 1] and their objects to losses by name; in
    evaluation, images to detected objects.

    References:
        He et al. 2017, "Mask R-CNN", arXiv:1703.06870, and for a cascade :class:`CascadeHeads`.
    """
    start = start or Start.of(settings)
    body = start.pyramid(settings, settings.fpn)
    maps = Maps(body, settings.precision)
    sides = tuple((round(settings.anchor * stride),) for stride in body.strides)
    # The pooled level serves anchors only.
    names = [str(level) for level in range(len(body.strides) - 1)]
    model = MaskRCNN(
        maps,
        classes + 1,  # and the background
        min_size=settings.image_size,
        max_size=settings.image_size,
        image_mean=list(start.normalisation.mean),
        image_std=list(start.normalisation.std),
        rpn_anchor_generator=AnchorGenerator(sides, ((0.5, 1.0, 2.0),) * len(sides)),
        box_batch_size_per_image=settings.regions,
        box_roi_pool=MultiScaleRoIAlign(names, output_size=7, sampling_ratio=2),
        mask_roi_pool=MultiScaleRoIAlign(names, output_size=14, sampling_ratio=2),
    )
    if settings.detector == "cascade":
        model.roi_heads = CascadeHeads(model.roi_heads, settings.fpn, classes + 1)
    return model


class Jitter(v2.ScaleJitter):  # type: ignore[misc]
    """torchvision's random resizing, which leaves no pixel of the shorter side of long images."""

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """As the base does, with sides of a pixel at least."""
        height, width = super().make_params(flat_inputs)["size"]
        return {"size": (max(height, 1), max(width, 1))}


class Maps(nn.Module):
    """The maps of a pyramid in float32, in training computed by autocast.

    What follows, proposals, boxes and their regression targets, has no autocast: bfloat16 has 8
    bits, which round a box of 16 px to an IoU of 0.86 with itself.
    """

    def __init__(self, pyramid: Pyramid | PyramidWithFpn, precision: str) -> None:
        super().__init__()
        self.pyramid, self._precision = pyramid, precision
        self.out_channels = pyramid.out_channels  # torchvision asks for it

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """``[B, 3, H, W]`` -> the maps by name, fine to coarse."""
        precision = self._precision if self.training else "fp32"
        with autocast(images.device, precision):
            maps = self.pyramid(images)
        return OrderedDict((name, level.float()) for name, level in maps.items())


class Detection(Transfer[DetectionSettings]):
    """The training of a detector on images in COCO's format."""

    row_type = DetectionRow
    one_shape = False
    casts = False  # but for the maps

    def __init__(self, settings: DetectionSettings, start: Start | None = None) -> None:
        from torchmetrics.detection import MeanAveragePrecision

        super().__init__(settings, start)
        folder = expanded(settings.data)
        self.images = CocoImages(folder, settings.train)
        self.validation = CocoImages(folder, settings.validation, crowds=True)
        self.names = self.images.classes
        if self.names != self.validation.classes:
            raise ValueError(
                f"{settings.train} has the classes {', '.join(self.names)}, and "
                f"{settings.validation} has {', '.join(self.validation.classes)}; use the same"
            )
        self.classes = len(self.names)
        self.network = detector(settings, self.classes, self.start)
        self.metric = MeanAveragePrecision(
            iou_type=("bbox", "segm"), backend="pycocotools", sync_on_compute=False
        )
        side = (settings.image_size, settings.image_size)
        self.transform = v2.Compose(
            [
                v2.ClampBoundingBoxes(),  # so that none reaches into what pads the image
                v2.RandomHorizontalFlip(),
                Jitter(side, settings.scale, antialias=True),
                v2.RandomCrop(side, pad_if_needed=True),
                v2.ClampBoundingBoxes(),  # to sides that resizing has rounded up
                v2.SanitizeBoundingBoxes(),
                v2.ToDtype({tv_tensors.Image: torch.float32, "others": None}, scale=True),
            ]
        )

    def moved(self, images: list[Tensor], targets: list[Any], device: torch.device) -> Any:
        """A list of images, and a list of their objects."""
        names = ("boxes", "labels", "masks")
        objects = [{name: to_device(target[name], device) for name in names} for target in targets]
        return [to_device(image, device) for image in images], objects

    def decay(self, done: float) -> float:
        """A tenth after each mark."""
        return float(0.1 ** sum(done >= mark for mark in MARKS))

    def compare(self, image: Tensor, annotation: Any) -> None:
        """Update COCO's average precision of boxes and masks.

        On the CPU, as torchmetrics reads the scores of objects one by one.
        """
        (objects,) = self.network([image])
        objects = {name: value.cpu() for name, value in objects.items()}
        objects["masks"] = objects["masks"][:, 0] > 0.5
        self.metric.update([objects], [{**annotation, "masks": annotation["masks"].bool()}])

    def join(self) -> None:
        # torchmetrics itself needs equally many images in every process.
        if self.processes.world == 1:
            return
        shares = self.processes.gather(self.metric.metric_state)
        for name in shares[0]:
            turns = zip_longest(*(share[name] for share in shares))  # as images were dealt
            values = [value for value in chain.from_iterable(turns) if value is not None]
            setattr(self.metric, name, values)

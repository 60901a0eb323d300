"""Settings and results of training detectors and segmenters."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from asvit.core.codec import Nullable, to_json
from asvit.core.results import Result
from asvit.core.settings import (
    SEED,
    Presets,
    Settings,
    presets_with,
    setting,
    setting_of,
    settings_class,
)
from asvit.training.settings import TrainSettings
from proxies.text import shown

IGNORED = 255  # label of pixels without a class

_OF_TRAINING = ("epoch", "learning_rate", "seconds")  # columns, beside the losses


def _scale(values: Iterable[float | str]) -> tuple[float, float]:
    try:
        least, most = map(float, values)
    except (OverflowError, TypeError, ValueError):
        least = most = math.nan
    if not 0 < least <= most < math.inf:
        raise ValueError(f"scale must be two numbers, least first, got {shown(values)}")
    return least, most


@settings_class(kw_only=True)
class TransferSettings(Settings):
    """Settings of a training; equal settings give equal weights on a CPU."""

    architecture: str | None = setting(
        None,
        "Architecture, or the folder of a run that ended in one; by default that of the weights.",
        metavar="ARCH",
        argument=True,
        complete="architectures",
    )
    data: str = setting(
        ..., "Folder of images and annotations.", metavar="FOLDER", complete="paths"
    )
    train: str = setting("train2017", "Split to train on.", metavar="NAME")
    validation: str = setting("val2017", "Split to evaluate on.", metavar="NAME")
    weights: str | None = setting(
        None, "Weights to start from: a file, or a run.", metavar="FILE", complete="paths"
    )
    image_size: int = setting(1024, "Side of the square training images, in pixels.", at_least=32)
    scale: tuple[float, float] = setting(
        (0.1, 2.0),
        "Range of random resizing, relative to the image size.",
        metavar="LEAST,MOST",
        convert=_scale,
        parse=lambda text: _scale(text.split(",")),
    )
    epochs: int = setting(36, "Passes over the images.", at_least=1)
    batch_size: int = setting(16, "Images of a step, over all processes.", at_least=2)
    learning_rate: float = setting(1e-4, "Highest learning rate of AdamW.", above=0)
    weight_decay: float = setting(0.05, "Decoupled weight decay of matrices.", at_least=0, below=1)
    warmup: int = setting(500, "Steps of linear warm-up, a fifth of all at most.", at_least=0)
    drop_path: float = setting(0.2, "Drop-path of the last block.", at_least=0, below=1)
    grad_checkpointing: bool = setting_of(TrainSettings, "grad_checkpointing")
    precision: str = setting_of(TrainSettings, "precision")
    seed: int = SEED


@settings_class(kw_only=True)
class DetectionSettings(TransferSettings):
    """Settings of a detector.

    The defaults are the published settings of As-ViT Large (arXiv:2202.11921), which by its size
    is a cascade, and otherwise those of Swin (arXiv:2103.14030).
    """

    presets: ClassVar[Presets] = presets_with(
        quick={"detector": "mask", "image_size": 256, "epochs": 6, "batch_size": 8, "warmup": 100}
    )

    detector: str = setting(
        "cascade", "Mask R-CNN (mask) or Cascade Mask R-CNN.", choices=("cascade", "mask")
    )
    fpn: int = setting(256, "Channels of the feature pyramid network.", at_least=1)
    anchor: float = setting(
        8.0,
        "Side of anchors, relative to the stride.",
        at_least=0.5,  # at stride 4, torchvision rounds the corners of smaller ones to 0
        below=64,
    )
    regions: int = setting(512, "Regions of an image that train the heads in a step.", at_least=4)


@settings_class(kw_only=True)
class SegmentationSettings(TransferSettings):
    """Settings of a segmenter, by default as Swin was trained on ADE20K (arXiv:2103.14030)."""

    presets: ClassVar[Presets] = presets_with(
        quick={"image_size": 128, "epochs": 10, "batch_size": 8, "warmup": 100, "head": 128}
    )

    classes: int = setting(150, "Number of classes.", at_least=2, at_most=IGNORED)
    head: int = setting(512, "Channels of UperNet's head; twice the auxiliary one's.", at_least=2)
    train: str = setting_of(TransferSettings, "train", default="training")
    validation: str = setting_of(TransferSettings, "validation", default="validation")
    image_size: int = setting_of(TransferSettings, "image_size", default=512)
    scale: tuple[float, float] = setting_of(TransferSettings, "scale", default=(0.5, 2.0))
    epochs: int = setting_of(TransferSettings, "epochs", default=127)  # 160,000 steps
    learning_rate: float = setting_of(TransferSettings, "learning_rate", default=6e-5)
    weight_decay: float = setting_of(TransferSettings, "weight_decay", default=0.01)
    warmup: int = setting_of(TransferSettings, "warmup", default=1500)


@dataclass(frozen=True, kw_only=True)
class TransferRow:
    """An epoch: mean losses of its steps, and metrics on the validation images, per cent."""

    epoch: int  # from 1
    learning_rate: float  # of its last step
    seconds: float  # wall-clock time, evaluation included
    loss: float  # the sum of the others

    @property
    def metrics(self) -> dict[str, float]:
        """The metrics on the validation images, by name."""
        return {
            name: value
            for name, value in vars(self).items()
            if name not in _OF_TRAINING and not name.startswith("loss")
        }


@dataclass(frozen=True, kw_only=True)
class DetectionRow(TransferRow):
    """An epoch of a detector, with COCO's average precisions."""

    loss_objectness: float
    loss_rpn_box_reg: float
    loss_classifier: float
    loss_box_reg: float
    loss_mask: float
    bbox_map: float
    bbox_map_50: float
    bbox_map_75: float
    segm_map: float
    segm_map_50: float
    segm_map_75: float


@dataclass(frozen=True, kw_only=True)
class SegmentationRow(TransferRow):
    """An epoch of a segmenter; classes absent from labels and predictions do not count."""

    loss_decode: float
    loss_auxiliary: float
    mean_iou: Nullable  # intersection over union
    pixel_accuracy: Nullable


@dataclass(frozen=True, kw_only=True)
class TransferResult(Result):
    """A trained detector or segmenter."""

    provenance_keys = ("found_by", "images", "device", "processes", "versions", "command")
    rows_in = "metrics"
    row_type: ClassVar[type[TransferRow]]

    settings: Any
    classes: int  #: number of classes
    params: int  #: parameters
    history: Any  #: one row per epoch

    @property
    def values(self) -> dict[str, float]:
        """The metrics of the last epoch by their names, per cent."""
        return dict(self.history[-1].metrics)

    def derived(self) -> Mapping[str, Any]:
        """The architecture, and the metrics of the last epoch."""
        return {"architecture": self.settings.architecture, **to_json(self.values)}


@dataclass(frozen=True, kw_only=True)
class DetectionResult(TransferResult):
    """A trained detector.

    Example:
        >>> result = asvit.run_detection(weights="runs/trained", data="coco")  # doctest: +SKIP
        >>> result.plot("curves")  # doctest: +SKIP
    """

    kind, noun, row_type = "detection", "detector", DetectionRow

    settings: DetectionSettings
    history: tuple[DetectionRow, ...]


@dataclass(frozen=True, kw_only=True)
class SegmentationResult(TransferResult):
    """A trained segmenter.

    Example:
        >>> result = asvit.run_segmentation(weights="runs/trained", data="ade")  # doctest: +SKIP
        >>> result.plot("curves")  # doctest: +SKIP
    """

    kind, noun, row_type = "segmentation", "segmenter", SegmentationRow

    settings: SegmentationSettings
    history: tuple[SegmentationRow, ...]

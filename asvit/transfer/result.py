"""What training detectors and segmenters comes to."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from asvit.core.codec import Nullable, to_json
from asvit.core.results import Result
from asvit.transfer.settings import DetectionSettings, SegmentationSettings

_OF_TRAINING = ("epoch", "learning_rate", "seconds")  # columns, beside the losses


@dataclass(frozen=True, kw_only=True)
class TransferRow:
    """An epoch: mean losses of its steps, and metrics on the validation images, per cent."""

    epoch: int  # from 1
    learning_rate: float  # of its last step
    seconds: float  # wall-clock time, evaluation included
    loss: float  # the sum of the others

    @property
    def metrics(self) -> dict[str, float]:
        """What was measured on the validation images, by name."""
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
    box_map: float
    box_map_50: float
    box_map_75: float
    mask_map: float
    mask_map_50: float
    mask_map_75: float


@dataclass(frozen=True, kw_only=True)
class SegmentationRow(TransferRow):
    """An epoch of a segmenter; classes that are neither there nor found do not count."""

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
    """A trained detector."""

    kind, noun, row_type = "detection", "detector", DetectionRow
    settings: DetectionSettings
    history: tuple[DetectionRow, ...]


@dataclass(frozen=True, kw_only=True)
class SegmentationResult(TransferResult):
    """A trained segmenter."""

    kind, noun, row_type = "segmentation", "segmenter", SegmentationRow
    settings: SegmentationSettings
    history: tuple[SegmentationRow, ...]

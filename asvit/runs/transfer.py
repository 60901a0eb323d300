"""Transfers: detectors and segmenters trained on a network, by one process or several."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from asvit.core.console import quantity
from asvit.core.run_files import METRICS_CSV, METRICS_JSONL
from asvit.core.signatures import CallOptions, with_options
from asvit.core.summary import SummaryPart
from asvit.runs.folder import RunFiles
from asvit.runs.run import imported
from asvit.runs.shared import SharedRun
from asvit.transfer.settings import (
    DetectionResult,
    DetectionSettings,
    SegmentationResult,
    SegmentationSettings,
    TransferResult,
    TransferSettings,
)

S = TypeVar("S", bound=TransferSettings)
R = TypeVar("R", bound=TransferResult)


def _files(kind: str, noun: str) -> RunFiles:
    state = f"{noun}.safetensors"
    outputs = (METRICS_CSV, METRICS_JSONL)
    return RunFiles(kind, noun, outputs, state, figures=("curves",))


@dataclass(kw_only=True)
class TransferRun(SharedRun[S, R]):
    """Train a model on images with annotations, from a network."""

    pictures = imported("asvit.report.transfer:pictures")  # imports matplotlib

    @property
    def title(self) -> str:
        """What is about to be trained, and how."""
        s = self.settings
        return (
            f"training on {s.data}, {s.image_size} px: {quantity(s.epochs, 'epoch')} in batches "
            f"of {s.batch_size}, learning rate {s.learning_rate:g}, seed {s.seed}"
        )

    def default_name(self) -> str:
        """Named after the network, or its weights, the image size and the seed."""
        return self.named(self.settings.architecture or Path(self.settings.weights or "").stem)

    @classmethod
    def summary(cls, result: R) -> Iterator[SummaryPart]:
        """As the base has it; metrics are in per cent."""
        _, *rest = super().summary(result)
        units = dict.fromkeys(result.values, " (%)")
        facts = result.facts().items()
        yield {name.replace("_", " ") + units.get(name, ""): value for name, value in facts}
        yield from rest

    @property
    def typed_values(self) -> Mapping[str, object]:
        """The network, which weights may bring along."""
        return {"architecture": self.settings.architecture}


@dataclass(kw_only=True)
class DetectionRun(TransferRun[DetectionSettings, DetectionResult]):
    """Train a detector on ARCH with images in COCO's format.

    FOLDER holds annotations/instances_SPLIT.json and the images in SPLIT. The same command resumes
    a stopped run, or shows the result of a finished one. Several processes share the batches:
    torchrun --nproc-per-node 8 -m asvit transfer detect ARCH ...
    """

    command = "transfer detect"
    files = _files("detection", "detector")
    algorithm = imported("asvit.runs.algorithms.transfer:DetectionAlgorithm")
    written = "report.html, detector.safetensors, metrics.csv, result.json"


@dataclass(kw_only=True)
class SegmentationRun(TransferRun[SegmentationSettings, SegmentationResult]):
    """Train a segmenter on ARCH with images in ADE20K's format.

    FOLDER holds images/SPLIT and annotations/SPLIT, where a picture of the same name has the class
    of each pixel from 1, and 0 for none. The same command resumes a stopped run, or shows the
    result of a finished one. Several processes share the batches:
    torchrun --nproc-per-node 8 -m asvit transfer segment ARCH ...
    """

    command = "transfer segment"
    files = _files("segmentation", "segmenter")
    algorithm = imported("asvit.runs.algorithms.transfer:SegmentationAlgorithm")
    written = "report.html, segmenter.safetensors, metrics.csv, result.json"


@with_options(DetectionSettings, DetectionRun, CallOptions)
def run_detection(architecture: str | None = None, **given: Any) -> DetectionResult:
    """Train a detector on images in COCO's format; the same call continues a stopped run.

    The run folder holds ``detector.safetensors`` (the state after an epoch or a part of one; of a
    finished run the weights), ``metrics.csv``, ``metrics.jsonl`` and ``result.json``. After a
    kill at most ``checkpoint_minutes`` are trained again; the weights are the same on a CPU.
    Processes share batches as in :func:`asvit.run_training`.

    Args:
        architecture: As there, of a network with feature maps; None for that of ``weights``.

    Raises:
        ValueError: If weights do not suit, or the loss is not finite, too.
        ImportError: If a library is missing.

    Example:
        >>> result = asvit.run_detection(
        ...     weights="runs/trained", data="coco", epochs=12, batch_size=4
        ... )  # doctest: +SKIP
    """
    return DetectionRun.make(architecture=architecture, **given).run()


@with_options(SegmentationSettings, SegmentationRun, CallOptions)
def run_segmentation(architecture: str | None = None, **given: Any) -> SegmentationResult:
    """Train a segmenter on images in ADE20K's format, in the manner of :func:`run_detection`.

    The file of weights is ``segmenter.safetensors``; the settings are those of
    :class:`asvit.transfer.settings.SegmentationSettings`.

    Example:
        >>> result = asvit.run_segmentation(
        ...     weights="runs/trained", data="ade", epochs=12, batch_size=4
        ... )  # doctest: +SKIP
    """
    return SegmentationRun.make(architecture=architecture, **given).run()

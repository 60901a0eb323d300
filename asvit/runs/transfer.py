"""Transfers: detectors and segmenters trained on a network, by one process or several."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

from asvit.core.progress import Tell, ignore
from asvit.core.run_files import METRICS_CSV, METRICS_JSONL, previous
from asvit.core.signatures import CallOptions, with_options
from asvit.core.versions import missing, versions
from asvit.runs.folder import RunFiles
from asvit.runs.run import imported
from asvit.runs.shared import SharedRun
from asvit.transfer.settings import (
    DRAWING,
    DetectionResult,
    DetectionSettings,
    SegmentationResult,
    SegmentationSettings,
    TransferResult,
    TransferSettings,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from asvit.report.pictures import Picture
    from asvit.training.checkpoint import Checkpoint, Saved
    from asvit.transfer.session import Task

S = TypeVar("S", bound=TransferSettings)


def _files(kind: str, noun: str) -> RunFiles:
    state = f"{noun}.safetensors"
    outputs = (METRICS_CSV, METRICS_JSONL, DRAWING, previous(state))
    return RunFiles(kind, noun, state, outputs, figures=("curves", "predictions"))


@dataclass(kw_only=True)
class TransferRun(SharedRun[S, TransferResult]):
    """Train a model on images with annotations, from a network."""

    task_type: ClassVar[Any]  # a :class:`asvit.transfer.session.Task`

    @cached_property
    def task(self) -> Task[S]:
        """The model, freshly initialised, with its data."""
        import torch

        from proxies.evaluation import seed_for

        try:
            with torch.random.fork_rng([]):  # equal in every process
                torch.manual_seed(seed_for(self.settings.seed, "weights"))
                return cast("Task[S]", self.task_type(self.settings))
        except ModuleNotFoundError as error:
            raise missing(f"asvit {self.command}", str(error.name), "transfer") from error

    @property
    def title(self) -> str:
        """What is about to be trained, and how."""
        s = self.settings
        return (
            f"training on {s.data}, {s.image_size} px: {s.epochs} epochs in batches of "
            f"{s.batch_size}, learning rate {s.learning_rate:g}, seed {s.seed}"
        )

    def default_name(self) -> str:
        """Named after the network, or its weights, the image size and the seed."""
        return self.named(self.settings.architecture or Path(self.settings.weights or "").stem)

    @property
    def typed_values(self) -> Mapping[str, object]:
        """The network, which weights may bring along."""
        return {"architecture": self.settings.architecture, **super().typed_values}

    def check(self) -> None:
        """Find the device and libraries."""
        _ = self.processes

    def load(self) -> Mapping[str, Any]:
        """Annotations and the kind of device."""
        parts = (self.task.images, self.task.validation)
        source = f"{self.settings.data}: {' and '.join(f'{len(part)} images' for part in parts)}"
        digest = hashlib.sha256("".join(part.digest for part in parts).encode()).hexdigest()
        images = {"source": source, "digest": digest}
        return {"images": images, "device": self.processes.device.type}

    def execute(self, store: Saved[Checkpoint], tell: Tell) -> TransferResult:
        """Train to the last epoch."""
        from asvit.training.checkpoint import Origin
        from asvit.transfer.session import Session

        task, begun = self.task, self.load()
        origin = Origin(self.settings, begun["images"], (), begun["device"], (), versions())
        session = Session(
            folder=self.folder,
            origin=origin if store.file is None else store.file.origin,
            processes=self.processes,
            stored=store.file,
            workers=self.workers_for(len(task.indices)),
            file=self.files.state,
            kind=self.files.kind,
            task=task,
            row_type=self.result_type.row_type,
        )
        session.run(tell if self.processes.first else ignore)
        return self.result(
            store,
            {"found_by": self.found_by, **begun, "processes": self.processes.world},
            classes=task.classes,
            params=sum(parameter.numel() for parameter in task.model.parameters()),
            history=tuple(session.history),
            wall_seconds=session.seconds,
        )

    @classmethod
    def pictures(cls, result: TransferResult) -> Sequence[Picture]:
        """The loss and the metrics over the epochs, and predictions."""
        from asvit.report.pictures import Picture
        from asvit.report.training import draw_epochs

        rows, kind = result.history, result.row_type
        panels = {f"{name.replace('_', ' ')} (%)": ("", name) for name in result.values}
        photograph = result.folder / DRAWING
        return [
            Picture(
                "curves",
                "Loss and metrics",
                "The mean loss of the steps of each epoch, and metrics on the validation images.",
                lambda: draw_epochs(rows, {"loss": ("loss",), **panels}),
                (rows, kind),
            ),
            Picture(
                "predictions",
                "Predictions",
                "The first validation images: annotations, and right of each what is found.",
                lambda: draw_photograph(photograph),
                (rows[-1:], kind),
                wide=True,
            ),
        ]


@dataclass(kw_only=True)
class DetectionRun(TransferRun[DetectionSettings]):
    """Train a detector on ARCH with images in COCO's format.

    FOLDER holds annotations/instances_SPLIT.json and the images in SPLIT. Given again, the same
    command continues a run that was stopped, or shows the result of a finished one. Several
    processes share the batches: torchrun --nproc-per-node 8 -m asvit transfer detect ARCH ...
    """

    command = "transfer detect"
    files = _files("detection", "detector")
    result_type = DetectionResult
    task_type = imported("asvit.transfer.detector:Detection")
    written = "report.html, detector.safetensors, predictions.jpg, metrics.csv, result.json"


@dataclass(kw_only=True)
class SegmentationRun(TransferRun[SegmentationSettings]):
    """Train a segmenter on ARCH with images in ADE20K's format.

    FOLDER holds images/SPLIT and annotations/SPLIT, where a picture of the same name has the class
    of each pixel from 1, and 0 for none. Given again, the same command continues a run that was
    stopped, or shows the result of a finished one. Several processes share the batches:
    torchrun --nproc-per-node 8 -m asvit transfer segment ARCH ...
    """

    command = "transfer segment"
    files = _files("segmentation", "segmenter")
    result_type = SegmentationResult
    task_type = imported("asvit.transfer.segmenter:Segmentation")
    written = "report.html, segmenter.safetensors, predictions.jpg, metrics.csv, result.json"


def draw_photograph(path: Path) -> Figure:
    """A picture of a run folder as it is, or nothing where it is missing."""
    from matplotlib.image import imread

    from asvit.report.style import empty, figure

    if not path.is_file():
        return empty(f"no {path.name}")
    pixels = imread(path)
    made = figure(width := 11.0, width * pixels.shape[0] / pixels.shape[1])
    axes = made.subplots()
    axes.imshow(pixels, interpolation="none")  # else an SVG would have it at 72 dpi
    axes.set_axis_off()
    return made


@with_options(DetectionSettings, DetectionRun, CallOptions)
def run_detection(architecture: str | None = None, **given: Any) -> DetectionResult:
    """Train a detector on images in COCO's format; the same call continues a stopped run.

    The run folder holds ``detector.safetensors`` (the state after the last epoch; of a finished
    run the weights), ``predictions.jpg`` (what is found in some validation images),
    ``metrics.csv``, ``metrics.jsonl`` and ``result.json``. After a stop at most an epoch is
    trained again; the weights are the same on a CPU. Processes share batches as in
    :func:`asvit.run_training`.

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
    made = DetectionRun.make(architecture=architecture, **given).run()
    return cast("DetectionResult", made)


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
    made = SegmentationRun.make(architecture=architecture, **given).run()
    return cast("SegmentationResult", made)

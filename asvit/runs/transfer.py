"""Transfers: detectors and segmenters trained on a network, by one process or several."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from asvit.core.run_files import METRICS
from asvit.core.signatures import CallOptions, with_options
from asvit.core.summary import SummaryPart
from asvit.runs.folder import RunFiles
from asvit.runs.run_folder import Kind, facts_and_time
from asvit.runs.shared import SharedOptions, folder_name
from asvit.transfer.settings import (
    DetectionResult,
    DetectionSettings,
    SegmentationResult,
    SegmentationSettings,
    TransferResult,
    TransferSettings,
)


def summary(result: TransferResult) -> Iterator[SummaryPart]:
    """Every number and text of result.json, metrics in per cent, and the time."""
    _, *rest = facts_and_time(result)
    units = dict.fromkeys(result.values, " (%)")
    facts = result.facts().items()
    yield {name.replace("_", " ") + units.get(name, ""): value for name, value in facts}
    yield from rest


def _kind(command: str, help: str, settings: type[TransferSettings], result: Any) -> Kind:
    """The kind of run of a model on images with annotations, from a network."""

    def named(s: TransferSettings, _options: object) -> str:
        network = s.architecture or Path(s.weights or "").stem
        return folder_name(command, network, s.image_size, s.seed)

    state = f"{result.noun}.safetensors"
    return Kind(
        command=command,
        help=help,
        files=RunFiles(result.kind, result.noun, (METRICS, state), figures=("curves",)),
        settings_type=settings,
        options_type=SharedOptions,
        result=result,
        prepare="asvit.runs.algorithms.shared:prepare",
        execute=f"asvit.runs.algorithms.transfer:{command.split()[-1]}",
        name=named,
        summary=summary,
        pictures="asvit.report.transfer:pictures",
        written=f"report.html, {state}, metrics.csv, result.json",
        complete=(state,),
        shared=True,
    )


DETECT = _kind(
    "transfer detect",
    """Train a detector on ARCH with images in COCO's format.

    FOLDER holds annotations/instances_SPLIT.json and the images in SPLIT. The same command resumes
    a stopped run, or shows the result of a finished one. Several processes share the batches:
    torchrun --nproc-per-node 8 -m asvit transfer detect ARCH ...
    """,
    DetectionSettings,
    DetectionResult,
)
SEGMENT = _kind(
    "transfer segment",
    """Train a segmenter on ARCH with images in ADE20K's format.

    FOLDER holds images/SPLIT and annotations/SPLIT, where a picture of the same name has the class
    of each pixel from 1, and 0 for none. The same command resumes a stopped run, or shows the
    result of a finished one. Several processes share the batches:
    torchrun --nproc-per-node 8 -m asvit transfer segment ARCH ...
    """,
    SegmentationSettings,
    SegmentationResult,
)


@with_options(DetectionSettings, SharedOptions, CallOptions)
def run_detection(architecture: str | None = None, **given: Any) -> DetectionResult:
    """Train a detector on images in COCO's format; the same call continues a stopped run.

    The run folder holds ``detector.safetensors`` (the state after an epoch or a part of one; of a
    finished run the weights), ``metrics.csv`` and ``result.json``. After a
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
    result: DetectionResult = DETECT.make(architecture=architecture, **given).run()
    return result


@with_options(SegmentationSettings, SharedOptions, CallOptions)
def run_segmentation(architecture: str | None = None, **given: Any) -> SegmentationResult:
    """Train a segmenter on images in ADE20K's format, in the manner of :func:`run_detection`.

    The file of weights is ``segmenter.safetensors``; the settings are those of
    :class:`asvit.transfer.settings.SegmentationSettings`.

    Example:
        >>> result = asvit.run_segmentation(
        ...     weights="runs/trained", data="ade", epochs=12, batch_size=4
        ... )  # doctest: +SKIP
    """
    result: SegmentationResult = SEGMENT.make(architecture=architecture, **given).run()
    return result

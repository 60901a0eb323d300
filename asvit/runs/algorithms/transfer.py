"""The algorithms of transfers."""

from __future__ import annotations

import hashlib
from typing import Any, TypeVar

import torch

from asvit.core.console import quantity
from asvit.core.progress import ignore
from asvit.core.versions import missing
from asvit.networks import Network
from asvit.runs.algorithms.shared import (
    check_images,
    sharing,
    stored_checkpoint,
    without_drop_path,
    workers_for,
)
from asvit.runs.run_folder import RunFolder
from asvit.training.checkpoint import Origin
from asvit.training.session import Session
from asvit.transfer.detector import Detection
from asvit.transfer.segmenter import Segmentation
from asvit.transfer.settings import (
    DetectionResult,
    DetectionSettings,
    SegmentationResult,
    SegmentationSettings,
    TransferResult,
    TransferSettings,
)
from asvit.transfer.task import Start, Transfer
from proxies.evaluation import seed_for

R = TypeVar("R", bound=TransferResult)


def detect(s: DetectionSettings, run: RunFolder[Any, DetectionResult]) -> DetectionResult:
    """Train a detector."""
    return _train(s, run, Detection)


def segment(
    s: SegmentationSettings, run: RunFolder[Any, SegmentationResult]
) -> SegmentationResult:
    """Train a segmenter."""
    return _train(s, run, Segmentation)


def _train(asked: TransferSettings, run: RunFolder[Any, R], task_type: Any) -> R:
    """Train a model on images with annotations to the last epoch."""
    s, noun, kind = without_drop_path(asked, run), run.kind.files.noun, run.kind.files.kind
    file = f"{noun}.safetensors"
    with sharing(run) as processes:
        row = run.kind.result_type.row_type
        stored = stored_checkpoint(run, processes, file, kind=kind, settings=type(s), row=row)
        # A checkpoint has all that was taken from weights.
        start = None if stored is None else Start.stored(stored.origin)
        try:
            with torch.random.fork_rng([]):  # equal in every process
                torch.manual_seed(seed_for(s.seed, "weights"))
                task: Transfer[Any] = task_type(s, start)
        except ModuleNotFoundError as error:
            command = f"asvit {run.kind.command}"
            raise missing(command, str(error.name), "transfer") from error
        run.title = (
            f"training a {noun} on {s.data}: {quantity(s.epochs, 'epoch')} in "
            f"batches of {s.batch_size}, learning rate {s.learning_rate:g}, seed {s.seed}"
        )
        parts = (task.images, task.validation)
        source = f"{s.data}: {' and '.join(f'{len(part)} images' for part in parts)}"
        digest = hashlib.sha256("".join(part.digest for part in parts).encode()).hexdigest()
        images = {"source": source, "digest": digest}
        processes.check_same({"the digest of the images": digest})
        if run.start is None:
            rest = range(len(task.validation))
            checked = [(task.images, task.images.indices), (task.validation, rest)]
            check_images(run, processes, checked)
        if stored is not None:
            origin = stored.origin
        else:
            network = task.start.network
            origin = Origin(
                *(s, images, task.names),
                normalisation=task.start.normalisation,
                network=network if isinstance(network, Network) else None,
            )
        workers = workers_for(run.options, processes, len(task.images.indices), s.epochs)
        task.open(processes, workers, source)
        run.begin(s, images=images, device=processes.device.type)
        session = Session(
            folder=run.folder,
            task=task,
            origin=origin,
            processes=processes,
            stored=stored,
            file=file,
            kind=kind,
            checkpoint_minutes=run.options.checkpoint_minutes,
        )
        session.run(run.tell if processes.first else ignore)
    return run.result(
        {"found_by": run.facts["found_by"], "processes": processes.world},
        classes=task.classes,
        params=sum(parameter.numel() for parameter in task.network.parameters()),
        history=tuple(session.history),
        wall_seconds=session.seconds,
    )

"""The algorithms of transfers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import torch

from asvit.core.progress import Tell, ignore
from asvit.core.versions import missing, versions
from asvit.networks import Network
from asvit.runs.algorithms.shared import SharedAlgorithm
from asvit.runs.transfer import DetectionRun, R, S, SegmentationRun, TransferRun
from asvit.training.checkpoint import Origin, Saved
from asvit.training.session import Session
from asvit.transfer.detector import Detection
from asvit.transfer.segmenter import Segmentation
from asvit.transfer.settings import (
    DetectionResult,
    DetectionSettings,
    SegmentationResult,
    SegmentationSettings,
)
from asvit.transfer.task import Start, Transfer
from proxies.evaluation import seed_for


@dataclass(kw_only=True)
class TransferAlgorithm(SharedAlgorithm[S, R], TransferRun[S, R]):
    """Trains a model on images with annotations."""

    task_type: ClassVar[type[Transfer[Any]]]
    _origin: Origin | None = field(default=None, init=False, repr=False, compare=False)

    def open(self) -> Saved:
        """As the base has it; its checkpoint has all that was taken from weights."""
        store = super().open()
        if store.file is not None:
            self._origin = store.file.origin
            vars(self).pop("task", None)  # from the weights: the checkpoint has come meanwhile
        return store

    @cached_property
    def task(self) -> Transfer[S]:
        """The model, freshly initialised, with its data."""
        try:
            with torch.random.fork_rng([]):  # equal in every process
                torch.manual_seed(seed_for(self.settings.seed, "weights"))
                start = None if self._origin is None else Start.stored(self._origin)
                return self.task_type(self.settings, start)
        except ModuleNotFoundError as error:
            raise missing(f"asvit {self.command}", str(error.name), "transfer") from error

    def check(self) -> None:
        """Find the device."""
        _ = self.processes

    def load(self) -> Mapping[str, Any]:
        """Annotations and the kind of device."""
        parts = (self.task.images, self.task.validation)
        source = f"{self.settings.data}: {' and '.join(f'{len(part)} images' for part in parts)}"
        digest = hashlib.sha256("".join(part.digest for part in parts).encode()).hexdigest()
        images = {"source": source, "digest": digest}
        return {"images": images, "device": self.processes.device.type}

    def settled(self, store: Saved, result: R) -> bool:
        """Whether every epoch is done; not so where an earlier checkpoint replaced the last."""
        return store.finished and super().settled(store, result)

    def execute(self, store: Saved, tell: Tell) -> R:
        """Train to the last epoch."""
        task, start = self.task, self.load()
        self.processes.check_same({"the digest of the images": start["images"]["digest"]})
        if store.file is None:
            rest = range(len(task.validation))
            self.check_images([(task.images, task.images.indices), (task.validation, rest)])
        device = start["device"]
        network = task.start.network
        origin = Origin(
            *(self.settings, start["images"], task.names, device, ()),
            versions(),
            normalisation=task.start.normalisation,
            network=network if isinstance(network, Network) else None,
        )
        workers = self.workers_for(len(task.images.indices), self.settings.epochs)
        task.open(self.processes, workers, start["images"]["source"])
        session = Session(
            folder=self.folder,
            task=task,
            origin=origin if store.file is None else store.file.origin,
            processes=self.processes,
            stored=store.file,
            file=self.files.state,
            kind=self.files.kind,
            checkpoint_minutes=self.checkpoint_minutes,
        )
        session.run(tell if self.processes.first else ignore)
        return self.result(
            store,
            {"found_by": self.found_by, **start, "processes": self.processes.world},
            classes=task.classes,
            params=sum(parameter.numel() for parameter in task.network.parameters()),
            history=tuple(session.history),
            wall_seconds=session.seconds,
        )


@dataclass(kw_only=True)
class DetectionAlgorithm(TransferAlgorithm[DetectionSettings, DetectionResult], DetectionRun):
    """Trains a detector."""

    task_type = Detection


@dataclass(kw_only=True)
class SegmentationAlgorithm(
    TransferAlgorithm[SegmentationSettings, SegmentationResult], SegmentationRun
):
    """Trains a segmenter."""

    task_type = Segmentation

"""The part of a training that does not depend on the model: epochs and checkpoints."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from asvit.core.run_files import CHECKPOINT
from asvit.training.checkpoint import KIND, Checkpoint, EngineState, Origin
from asvit.training.distributed import ProcessGroup
from asvit.training.images.loaders import Batching
from asvit.training.metrics import write_metrics

Row = TypeVar("Row")  # a dataclass


@dataclass(eq=False, kw_only=True)
class EpochSession(ABC, Generic[Row]):
    """Trains epoch by epoch, and writes a checkpoint into the run folder after each."""

    folder: Path
    origin: Origin
    processes: ProcessGroup  # the first of them writes
    stored: Checkpoint | None = None  # of earlier sessions
    workers: int = 0  # processes that prepare images
    file: str = CHECKPOINT  # name of the checkpoint
    kind: str = KIND  # kind of the checkpoint

    def _begin(self) -> None:
        """Start the clock, and take over the history of earlier sessions."""
        self._began, stored = time.monotonic(), self.stored
        self.history: list[Row] = [] if stored is None else list(stored.history)  #: epochs so far
        #: Name of each unreadable image to how often it was replaced.
        self.bad_images = {} if stored is None else dict(stored.bad_images)

    @property
    def seconds(self) -> float:
        """Wall-clock time of all sessions."""
        before = 0.0 if self.stored is None else self.stored.seconds
        return before + time.monotonic() - self._began

    def batching(self, **more: Any) -> Batching:
        """How to make this process's batches, from the settings and ``more``."""
        settings, processes = self.origin.settings, self.processes
        return Batching(
            image_size=settings.image_size,
            batch_size=settings.batch_size,
            seed=settings.seed,
            workers=self.workers,
            rank=processes.rank,
            world=processes.world,
            pin_memory=processes.device.type == "cuda",
            **more,
        )

    @abstractmethod
    def state(self) -> EngineState:
        """Everything that later epochs depend on."""

    def write_outputs(self) -> None:
        """Write the files that are derived from the last checkpoint: the metrics."""
        write_metrics(self.folder, self.history)

    def epochs(self, train: Callable[[int], Row]) -> Iterator[Row]:
        """Train the remaining epochs, from 0; yield each once its checkpoint is written."""
        first = self.processes.first
        if first and self.history:
            self.write_outputs()  # a kill may have left them out of date
        for epoch in range(len(self.history), self.origin.settings.epochs):
            self.history.append(train(epoch))
            if first:
                self._save()
            yield self.history[-1]

    def _save(self) -> None:
        """Write the checkpoint of an epoch, then the files derived from it."""
        progress = self.origin, tuple(self.history), self.seconds, self.bad_images
        try:
            Checkpoint(*progress, self.state(), self.kind).write(self.folder / self.file)
            self.write_outputs()
        except OSError as error:
            message = (
                f"{error.strerror} (keeping epoch {len(self.history)}; what was kept before is "
                "whole, and the same command goes on from it)"
            )
            raise OSError(error.errno, message, error.filename) from error

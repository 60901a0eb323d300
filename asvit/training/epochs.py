"""The part of a training that does not depend on the model: epochs, checkpoints, logs."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from asvit.core.progress import Track
from asvit.core.run_files import CHECKPOINT
from asvit.training.checkpoint import KIND, Checkpoint, EpochPart, Origin, TrainerState
from asvit.training.distributed import ProcessGroup
from asvit.training.images.batches import Batching
from asvit.training.metrics import write_metrics
from asvit.training.step_log import StepLog

Row = TypeVar("Row")  # a dataclass

_SPACING = 20  # of checkpoints, in the time that writing one takes


@dataclass(eq=False, kw_only=True)
class EpochSession(ABC, Generic[Row]):
    """Trains epoch by epoch, and writes checkpoints into the run folder.

    There is one after each epoch, unless writing them would take more than a twentieth of the
    time: several short epochs share one, for at most ``checkpoint_minutes``. Within long epochs
    there are checkpoints as well; it is a :class:`asvit.training.trainer.Keeper`.
    """

    folder: Path
    origin: Origin
    processes: ProcessGroup  # the first of them writes
    stored: Checkpoint | None = None  # of earlier sessions
    workers: int = 0  # processes that prepare images
    file: str = CHECKPOINT  # name of the checkpoint
    kind: str = KIND  # kind of the checkpoint
    checkpoint_minutes: float = 0.0  # between checkpoints; 0 for none within an epoch
    log_every: int = 0  # updates between two rows of the log; 0 for none
    steps: int = field(init=False)  #: updates of an epoch, once the images are there

    def _begin(self) -> None:
        """Start the clock, and take over the history of earlier sessions."""
        self._began, stored = time.monotonic(), self.stored
        self._kept = self._began  # when the last checkpoint was written
        self._writing = 0.0  # seconds that it took
        self._part = None if stored is None else stored.part  # of the epoch to go on with
        self.history: list[Row] = [] if stored is None else list(stored.history)  #: epochs so far
        #: Epochs of the whole training, as it is planned now.
        self.total: int = self.origin.settings.epochs if stored is None else stored.epochs
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
            device=processes.device if processes.device.type == "cuda" else None,
            **more,
        )

    @abstractmethod
    def state(self) -> TrainerState:
        """Everything that later epochs depend on."""

    def write_outputs(self) -> None:
        """Write the files that are derived from the last checkpoint: the metrics."""
        write_metrics(self.folder, self.history)

    def epochs(self, train: Callable[[int, EpochPart], Row]) -> Generator[Row]:
        """Train the remaining epochs, from 0; yield each.

        ``train`` goes on behind the updates of the epoch that are done. Close the iterator: it
        then keeps the epoch that was yielded last, if no checkpoint has it yet.
        """
        first = self.processes.first
        if first and self.history:  # a kill may have left files out of date
            if self._part is None:
                self.write_outputs()
            else:  # weights of the last epoch's end were written before
                write_metrics(self.folder, self.history)
        while (epoch := len(self.history)) < self.total:
            part = self._part or EpochPart()
            self.history.append(train(epoch, part))
            self._part = None
            self.plan_again()
            later = first and not self._worth_keeping
            if first and not later:
                self._save()
            try:
                yield self.history[-1]
            except GeneratorExit:
                if later:
                    self._save()
                raise

    @property
    def best(self) -> Row | None:
        """The epoch whose weights are written beside the checkpoint, if those of one are."""
        return None

    @property
    def _worth_keeping(self) -> bool:
        """Whether a checkpoint is to be written after the last epoch."""
        if len(self.history) == self.total or self.best is self.history[-1] or self.due():
            return True
        return time.monotonic() - self._kept >= _SPACING * self._writing

    def plan_again(self) -> None:
        """Update :attr:`total` after an epoch; every process must call this."""

    @property
    def updates(self) -> int:
        """Updates of the whole training that the stored checkpoint has."""
        within = 0 if self._part is None else self._part.updates
        return len(self.history) * self.steps + within

    def check_part(self) -> None:
        """Check that the part of an epoch is shorter than an epoch."""
        if self._part is not None and self._part.updates >= self.steps:
            raise ValueError(
                f"{self.folder / self.file} has {self._part.updates} updates of an epoch of "
                f"{self.steps}; give --fresh to start over"
            )

    def tracked_log(self, track: Track) -> StepLog:
        """The log within epochs; trackers get its rows, and what earlier sessions left.

        Processes but the first have an empty one, and leave the file alone.
        """
        first = self.processes.first
        log = StepLog(
            self.folder,
            every=self.log_every if first else 0,
            steps=self.steps,
            images=self.origin.settings.batch_size,
            tell=lambda row: track("step", row, row.update),
        )
        rows = log.go_on(self.updates) if first else []
        before: list[tuple[int, str, object]] = [
            *((row.update, "step", row) for row in rows),
            *((number * self.steps, "epoch", row) for number, row in enumerate(self.history, 1)),
        ]
        for number, series, row in sorted(before, key=lambda one: one[0]):  # wandb wants order
            track(series, row, number)
        return log

    def due(self) -> bool:
        """Whether the first process wants a checkpoint now."""
        minutes = (time.monotonic() - self._kept) / 60
        return self.processes.first and 0 < self.checkpoint_minutes <= minutes

    def keep(self, part: EpochPart) -> None:
        """Write a checkpoint within an epoch; every process must call this."""
        self.count_bad_images()
        if self.processes.first:
            self._write(part, f"{part.updates} updates of epoch {len(self.history) + 1}")

    def count_bad_images(self) -> None:
        """Update :attr:`bad_images`; every process must call this."""

    def _save(self) -> None:
        """Write the checkpoint of an epoch, then the files derived from it."""
        self._write(None, f"epoch {len(self.history)}", self.write_outputs)

    def _write(
        self, part: EpochPart | None, what: str, then: Callable[[], None] = lambda: None
    ) -> None:
        progress = self.origin, tuple(self.history), self.seconds, self.bad_images
        began = time.monotonic()
        try:
            checkpoint = Checkpoint(*progress, self.state(), self.kind, part, self.total)
            checkpoint.write(self.folder / self.file)
            then()
        except OSError as error:
            message = (
                f"{error.strerror} (keeping {what}; what was kept before is whole, and the same "
                "command goes on from it)"
            )
            raise OSError(error.errno, message, error.filename) from error
        self._kept = time.monotonic()
        self._writing = self._kept - began

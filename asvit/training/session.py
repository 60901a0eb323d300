"""A training in a run folder: from its checkpoint to its last epoch."""

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, cast

from asvit.core.answers import write_answers
from asvit.core.console import number
from asvit.core.progress import Progress, Tell, Track, untracked
from asvit.core.run_files import ANSWERS, BEST, CHECKPOINT, MODEL, PREDICTIONS
from asvit.data import LabelledImages
from asvit.data.preparation import shown_channels
from asvit.networks import Network, WeightsFile
from asvit.training.checkpoint import KIND, Checkpoint, EpochPart, Origin
from asvit.training.classification import Classification
from asvit.training.distributed import ProcessGroup
from asvit.training.metrics import EpochRow, seconds_of_an_epoch, write_metrics
from asvit.training.predictions import predict, predictions_of
from asvit.training.task import Row, Task
from asvit.training.trainer import Step, Trainer

_SPACING = 20  # of checkpoints, in the time that writing one takes


@dataclass(eq=False, kw_only=True)
class Session(Generic[Row]):
    """Trains a task epoch by epoch, and writes checkpoints into the run folder.

    There is one after each epoch, unless writing them would take more than a twentieth of the
    time: several short epochs share one, for at most ``checkpoint_minutes``. Within long epochs
    there are checkpoints as well; it is a :class:`asvit.training.trainer.Keeper`.
    """

    folder: Path
    task: Task[Row]
    origin: Origin
    processes: ProcessGroup  # the first of them writes
    stored: Checkpoint | None = None  # of earlier sessions
    file: str = CHECKPOINT  # name of the checkpoint
    kind: str = KIND  # kind of the checkpoint
    checkpoint_minutes: float = 0.0  # between checkpoints; 0 for none within an epoch
    history: list[Row] = field(init=False)  #: epochs so far
    total: int = field(init=False)  #: epochs of the whole training, as it is planned now
    bad_images: Mapping[str, str] = field(
        default_factory=dict
    )  #: names, and why they are left out

    def __post_init__(self) -> None:
        stored = self.stored
        self._began = self._written = time.monotonic()  # when the last checkpoint was written
        self._writing = 0.0  # seconds that it took
        self._part = None if stored is None else stored.part  # of the epoch to go on with
        self.history = [] if stored is None else list(stored.history)
        self.total = self.origin.settings.epochs if stored is None else stored.epochs
        self.trainer = Trainer(self.task, self.processes, epochs=self.total)
        if stored is not None:
            self.trainer.load_state(stored.state)

    @property
    def seconds(self) -> float:
        """Wall-clock time of all sessions."""
        before = 0.0 if self.stored is None else self.stored.seconds
        return before + time.monotonic() - self._began

    @property
    def best(self) -> Row | None:
        """The epoch whose weights are written beside the checkpoint, if those of one are."""
        return None

    def run(self, tell: Tell, *, track: Track = untracked) -> None:
        """Train to the end; report every epoch, and in between whenever losses are read.

        ``track`` gets the rows of epochs, also those of earlier sessions.
        """
        first, steps = self.processes.first, self.task.steps
        follow = self._follower(tell)
        for epoch, row in enumerate(self.history, 1):
            track("epoch", row, epoch * steps)
        with closing(self.task), closing(self.trainer):
            if first and self.history:  # a kill may have left files out of date
                if self._part is None:
                    self.write_outputs()
                else:  # weights of the last epoch's end were written before
                    write_metrics(self.folder, self.history)
            while len(self.history) < self.total:
                row, last = self._epoch(len(self.history), follow)
                self.history.append(row)
                self._part = None
                self.plan_again()
                if first and self._worth_writing:
                    self._write(None)
                    self.write_outputs()
                track("epoch", row, len(self.history) * steps)
                follow(last, row)
            self.finish()

    def plan_again(self) -> None:
        """Update :attr:`total` after an epoch; every process must call this."""

    def finish(self) -> None:
        """Write what comes from the trained network; every process must call this."""

    def write_outputs(self) -> None:
        """Write the files that are derived from the last checkpoint: the metrics."""
        write_metrics(self.folder, self.history)

    def due(self) -> bool:
        """Whether the first process wants a checkpoint now."""
        minutes = (time.monotonic() - self._written) / 60
        return self.processes.first and 0 < self.checkpoint_minutes <= minutes

    def keep(self, part: EpochPart) -> None:
        """Write a checkpoint within an epoch; every process must call this."""
        if self.processes.first:
            self._write(part)

    def _epoch(self, epoch: int, follow: Callable[[Step], None]) -> tuple[Row, Step]:
        """Train and evaluate an epoch, behind the updates that are done; its row and end."""
        start, steps = self._part or EpochPart(), self.task.steps
        began = time.monotonic() - start.seconds

        def report(step: Step) -> None:
            if step.done < steps:  # the last one is reported with the metrics
                follow(step)

        result = self.trainer.train(epoch, start=start, keeper=self, progress=report)
        metrics = self.task.evaluate(self.trainer.networks)
        row = self.task.row(epoch, result, metrics, time.monotonic() - began)
        return row, Step(epoch, steps, steps, result.loss, result.images_per_second)

    @property
    def _worth_writing(self) -> bool:
        """Whether a checkpoint is to be written after the last epoch."""
        if len(self.history) == self.total or self.best is self.history[-1] or self.due():
            return True
        return time.monotonic() - self._written >= _SPACING * self._writing

    def _write(self, part: EpochPart | None) -> None:
        began = time.monotonic()
        try:
            Checkpoint(
                self.origin,
                tuple(self.history),
                self.seconds,
                self.bad_images,
                self.trainer.state(),
                self.total,
                part,
            ).write(self.folder / self.file, self.kind)
        except OSError as error:
            message = f"{error.strerror} (the same command goes on from the checkpoint before)"
            raise OSError(error.errno, message, error.filename) from error
        self._written = time.monotonic()
        self._writing = self._written - began

    def _follower(self, tell: Tell) -> Callable[..., None]:
        """Turns steps, and the rows of epochs, into progress."""
        resumed, began = len(self.history), time.monotonic()
        part = 0 if self._part is None else len(self._part.losses)
        before = self._share(resumed * self.task.steps + part)

        def follow(step: Step, row: Row | None = None) -> None:
            words = [] if row else [f"step {step.done}/{step.steps} of epoch {step.epoch + 1}"]
            words += [f"loss {step.loss:.3f}", f"{number(step.images_per_second)} images/s"]
            if self.history and (state := self.task.state(self.history[-1])):
                words.append(state if row else f"epoch {len(self.history)}: {state}")
            tell(
                Progress(
                    "epoch",
                    len(self.history),
                    self.total,
                    resumed,
                    seconds=time.monotonic() - began,
                    state="  ".join(words),
                    share=self._share(step.epoch * step.steps + step.done),
                    share_resumed=before,
                    record=row,
                )
            )

        return follow

    def _share(self, updates: int) -> float:
        return updates / (self.task.steps * self.total)


@dataclass(eq=False, kw_only=True)
class ClassifierSession(Session[EpochRow]):
    """Trains a classifier, and writes its best weights beside the checkpoint."""

    network: Network
    images: LabelledImages  # to validate on
    facts: Mapping[str, Any] = field(default_factory=dict)  # to store with the weights

    @property
    def best(self) -> EpochRow | None:
        """The epoch with the best accuracy at the network's own tokens."""
        task = self._classification
        last = task.settings.epochs - 1
        rows = [row for row in self.history if task.tokens(row.epoch - 1) == task.tokens(last)]
        return max(rows, key=lambda row: (row.best_score, -row.epoch), default=None)

    def plan_again(self) -> None:
        """As many epochs as are left of the hours, at the pace of the last ones."""
        hours = self.origin.settings.hours
        if hours is None:
            return
        left = 3600 * hours - self.seconds
        self.plan(len(self.history) + round(left / seconds_of_an_epoch(self.history)))

    def plan(self, epochs: int) -> None:
        """Train for so many epochs in all, or for those of the settings if they are fewer."""
        least, most = max(1, len(self.history)), self.origin.settings.epochs
        # The processes may have timed otherwise.
        self.total = self.processes.gather(max(least, min(most, epochs)))[0]
        self.trainer.plan(self.total)

    def write_outputs(self) -> None:
        """Write the metrics, and the best weights if they are the current ones."""
        if self.best is self.history[-1]:
            self._weights(self.history[-1]).write(self.folder / BEST)
        super().write_outputs()

    def finish(self) -> None:
        """Write the answers to the validation images, then the network."""
        task, last, images = self._classification, self.history[-1], self.images
        task.begin(last.epoch - 1, self.trainer.networks)
        network = self.trainer.networks[-1 if last.average_is_better else 0]
        precision = task.precision
        answers = predict(network, task.validation, images, self.processes, precision=precision)
        if not self.processes.first:
            return
        shown = shown_channels(images.kind)
        predictions_of(images.classes, answers, images.picture, shown=shown).write(
            self.folder / PREDICTIONS
        )
        write_answers(self.folder / ANSWERS, answers)
        self._weights(last).write(self.folder / MODEL)

    @property
    def saved(self) -> dict[str, float] | None:
        """Shares of the training that coarser tokens save, as in the result."""
        return self._classification.saved

    @property
    def _classification(self) -> Classification:
        return cast("Classification", self.task)

    def _weights(self, row: EpochRow) -> WeightsFile:
        """The current network, or its moving average if that is better."""
        state, seen = self.trainer.state(), self.origin.settings.train_on_validation
        facts = {
            **self.facts,
            "epochs": self.total,
            "epoch": row.epoch,
            "top1": None if seen else row.best_top1,
            **({"train_on_validation": True} if seen else {}),
            **({} if seen or row.balanced is None else {"balanced_accuracy": row.best_score}),
            "weights": "average" if row.average_is_better else "trained",
            "tokens": row.tokens,
        }
        weights = state.average if row.average_is_better else state.weights
        return WeightsFile(self.network, weights, self.origin.classes, facts)

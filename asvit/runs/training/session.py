"""One session of a training, from what earlier ones have left to its last epoch."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from torch import nn

from asvit._run_files import BEST, CHECKPOINT, MODEL
from asvit.data import MEAN, STD, TrainingSets
from asvit.models.retokenization import Tokens, token_stages
from asvit.networks import Network, WeightsFile
from asvit.training.checkpoint import Checkpoint, Origin
from asvit.training.distillation import Teacher
from asvit.training.distributed import ProcessGroup
from asvit.training.engine import Engine, Step
from asvit.training.images.loaders import Loader, train_loader, validation_loader
from asvit.training.metrics import EpochRow, TensorBoard, write_metrics
from asvit.training.settings import TrainSettings
from proxies.counts import count


@dataclass(frozen=True)
class TrainEvent:
    """How far a training is.

    Attributes:
        epoch: The epoch, from 1.
        epochs: All of them.
        step: Its steps that are done.
        steps: All of them.
        share: Share of the whole training's work that is done, of all sessions.
        resumed: The share that earlier sessions did.
        seconds: Since this session's first step began.
        loss: Of the last steps, nats.
        images_per_second: In training, over all processes.
        row: The epoch, if it is done.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    share: float
    resumed: float
    seconds: float
    loss: float
    images_per_second: float
    row: EpochRow | None = None


Progress = Callable[[TrainEvent], None]


class Session:
    """Trains a network, and keeps it in the run folder after every epoch.

    Args:
        folder: Run folder.
        network: What builds the network.
        model: The network, with the weights to start from.
        origin: What the training works with.
        sets: The images.
        processes: Those that train together; the first one writes.
        stored: What earlier sessions have left; None if there was none.
        teacher: What the network learns from beside the labels.
        workers: Processes that prepare images.
        facts: What to keep with the weights.

    Attributes:
        origin: What the training works with.
        history: The epochs so far.
        bad_images: How often each image that could not be read was replaced, by its name.
        steps: Updates of an epoch.
        cost: Parameters of the network, and multiply-adds of one image.
    """

    def __init__(
        self,
        folder: Path,
        network: Network,
        model: nn.Module,
        origin: Origin,
        sets: TrainingSets,
        processes: ProcessGroup,
        *,
        stored: Checkpoint | None,
        teacher: Teacher | None,
        workers: int,
        facts: Mapping[str, Any],
    ) -> None:
        settings = origin.settings
        self._folder = folder
        self._network = network
        self.origin = origin
        self._processes = processes
        self._facts = facts
        self._began = time.monotonic()
        self._before = 0.0 if stored is None else stored.seconds
        self.history = [] if stored is None else list(stored.history)
        self._bad_before = {} if stored is None else dict(stored.bad_images)
        self.bad_images: dict[str, int] = dict(self._bad_before)
        self.cost = count(model, settings.image_size)
        self._stages = token_stages(model) if settings.staged else ()
        self._train, self._validation = _loaders(settings, sets, processes, workers)
        self.steps = len(self._train)
        self._plan = settings.plan
        self._work = _work(settings, origin.stages)
        self._engine = Engine(
            model, settings, processes, steps_per_epoch=self.steps, teacher=teacher
        )
        if stored is not None:
            self._engine.load_state(stored.state, epochs=len(stored.history))

    @property
    def seconds(self) -> float:
        """Wall-clock time of all sessions."""
        return self._before + time.monotonic() - self._began

    def run(self, progress: Progress | None = None, *, tensorboard: bool = False) -> None:
        """Train to the end.

        Raises:
            ValueError: If the loss is no longer finite, or an image cannot be read.
            OSError: If an epoch cannot be written; those before it are kept.
            ImportError: If TensorBoard is asked for and not installed.
        """
        epochs, first = self.origin.settings.epochs, self._processes.first
        board = TensorBoard(self._folder, self.history) if tensorboard and first else None
        if first:
            write_metrics(self._folder, self.history)  # a kill may have left them behind
        resumed, began = self._share(len(self.history)), time.monotonic()
        for epoch in range(len(self.history), epochs):
            tell = self._teller(progress, resumed, began)
            row = self._epoch(epoch, tell)
            self.history.append(row)
            if first:
                self._save(row)
                if board is not None:
                    board.add(row)
            tell(Step(epoch, self.steps, self.steps, row.train_loss, row.images_per_second), row)
        if board is not None:
            board.close()

    def finish(self) -> None:
        """Write the trained network; it follows from the checkpoint."""
        row = self.history[-1]
        self._weights(row).write(self._folder / MODEL)

    @property
    def best(self) -> int | None:
        """The epoch with the best accuracy at the network's own tokens, from 1."""
        rows = [row for row in self.history if self._whole(row.epoch - 1)]
        return max(rows, key=lambda row: (row.best_top1, -row.epoch)).epoch if rows else None

    def _epoch(self, epoch: int, tell: Callable[[Step], None]) -> EpochRow:
        began = time.monotonic()
        tokens = self._tokens(epoch)
        if tokens is not None:
            self._engine.use_tokens(tokens)
        self._train.set_epoch(epoch)
        trained = self._engine.train(epoch, self._train, progress=tell)
        accuracy, average = self._engine.validate(self._validation)
        bad = self._processes.gather(self._train.bad + self._validation.bad)
        self.bad_images = dict(sum(bad, Counter(self._bad_before)))
        return EpochRow(
            epoch=epoch + 1,
            tokens="" if tokens is None else str(tokens),
            learning_rate=trained.learning_rate,
            train_loss=trained.loss,
            loss=accuracy.loss,
            top1=accuracy.top1,
            top5=accuracy.top5,
            average_loss=None if average is None else average.loss,
            average_top1=None if average is None else average.top1,
            average_top5=None if average is None else average.top5,
            images_per_second=trained.images_per_second,
            seconds=time.monotonic() - began,
        )

    def _save(self, row: EpochRow) -> None:
        """Keep an epoch: the best network first, as the checkpoint says that it is there."""
        state = self._engine.state()
        checkpoint = Checkpoint(
            self.origin, tuple(self.history), self.seconds, self.bad_images, state
        )
        try:
            if self.best == row.epoch:
                self._weights(row).write(self._folder / BEST)
            checkpoint.write(self._folder / CHECKPOINT)
            write_metrics(self._folder, self.history)
        except OSError as error:
            message = (
                f"{error.strerror} (keeping epoch {row.epoch}; what was kept before is whole, and "
                "the same command goes on from it)"
            )
            raise OSError(error.errno, message, error.filename) from error

    def _weights(self, row: EpochRow) -> WeightsFile:
        """The network as it is now: its moving average where that is better."""
        state = self._engine.state()
        facts = {
            **self._facts,
            "epoch": row.epoch,
            "top1": row.best_top1,
            "weights": "average" if row.average_is_better else "trained",
            "tokens": row.tokens,
        }
        weights = state.average if row.average_is_better else state.weights
        return WeightsFile(self._network, weights, self.origin.classes, facts)

    def _teller(
        self, progress: Progress | None, resumed: float, began: float
    ) -> Callable[..., None]:
        """Turns what the engine tells into events."""

        def tell(step: Step, row: EpochRow | None = None) -> None:
            if progress is None or (row is None and step.done == step.steps):
                return  # the last step of an epoch is told with its accuracy
            progress(
                TrainEvent(
                    epoch=step.epoch + 1,
                    epochs=self.origin.settings.epochs,
                    step=step.done,
                    steps=step.steps,
                    share=self._share(step.epoch + step.done / step.steps),
                    resumed=resumed,
                    seconds=time.monotonic() - began,
                    loss=step.loss,
                    images_per_second=step.images_per_second,
                    row=row,
                )
            )

        return tell

    def _tokens(self, epoch: int) -> Tokens | None:
        """The tokens of an epoch, from 0; None without stages."""
        return self._stages[self._plan.stage(epoch)] if self._stages else None

    def _whole(self, epoch: int) -> bool:
        """Whether an epoch, from 0, has the network's own tokens."""
        return not self._stages or self._tokens(epoch) == self._stages[-1]

    def _share(self, epochs: float) -> float:
        """Share of the work that is done after so many epochs, by the measured times."""
        whole = int(epochs)
        done = self._work[whole]
        following = self._work[min(whole + 1, len(self._work) - 1)]
        return (done + (epochs - whole) * (following - done)) / self._work[-1]


def _loaders(
    settings: TrainSettings, sets: TrainingSets, processes: ProcessGroup, workers: int
) -> tuple[Loader, Loader]:
    """This process's batches to train on and to validate with."""
    shared: dict[str, Any] = {
        "image_size": settings.image_size,
        "augmentation": settings.augmentation,
        "mean": MEAN,
        "std": STD,
        "workers": workers,
        "rank": processes.rank,
        "world": processes.world,
        "bad": settings.bad_images,
        "pin_memory": processes.device.type == "cuda",
    }
    train = train_loader(
        sets.train,
        batch_size=settings.batch_size,
        seed=settings.seed,
        label_smoothing=settings.label_smoothing,
        **shared,
    )
    part = -(-settings.batch_size // settings.accumulate)
    return train, validation_loader(sets.validation, batch_size=part, **shared)


def _work(settings: TrainSettings, stages: Sequence[Mapping[str, Any]]) -> list[float]:
    """The work of the first n epochs, in epochs at the network's own tokens, for every n."""
    plan = settings.plan
    each = (
        float(stages[plan.stage(epoch)]["time_fraction"]) if stages else 1.0
        for epoch in range(settings.epochs)
    )
    return list(accumulate(each, initial=0.0))

"""One session of a training: from its checkpoint to its last epoch."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import InitVar, dataclass, field, replace
from functools import partial
from itertools import accumulate, islice
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from asvit.core.answers import write_answers
from asvit.core.console import number
from asvit.core.progress import Progress, Tell, Track, untracked
from asvit.core.run_files import ANSWERS, BEST, MODEL, PREDICTIONS
from asvit.data import TrainingSets
from asvit.data.preparation import shown_channels
from asvit.models.retokenization import Tokens, token_stages
from asvit.networks import Network, WeightsFile
from asvit.training.balance import class_weights
from asvit.training.checkpoint import EngineState, EpochPart
from asvit.training.cuda_graphs import BEFORE_CAPTURE
from asvit.training.distillation import Teacher
from asvit.training.engine import Engine, Step
from asvit.training.epochs import EpochSession
from asvit.training.images.loaders import Loader, train_loader, validation_loader
from asvit.training.metrics import EpochRow, seconds_of_an_epoch
from asvit.training.predictions import predict, predictions_of
from asvit.training.settings import TOP
from asvit.training.step_log import StepLog
from asvit.training.token_plan import saved
from proxies.counts import count

_TIMED = 3  # batches


@dataclass(eq=False, kw_only=True)
class Session(EpochSession[EpochRow]):
    """Trains a network, and writes its best weights beside the checkpoint."""

    network: Network
    model: InitVar[nn.Module]  # with its initial weights
    sets: TrainingSets
    teacher: Teacher | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)  # to store with the weights

    def __post_init__(self, model: nn.Module) -> None:
        self._begin()
        settings, stored = self.origin.settings, self.stored
        sizes = settings.image_size, self.network.in_chans
        self.cost = count(model, *sizes)  #: of the network, and of one image
        self._stages = token_stages(model) if settings.staged else ()
        self._train, self._validation = self._loaders()
        self.steps = len(self._train)
        self.check_part()
        self._plan = settings.plan
        stages = self.origin.stages
        each = (
            float(stages[self._plan.stage(epoch)]["time_fraction"]) if stages else 1.0
            for epoch in range(settings.epochs)
        )
        # The work of the first n epochs, for every n; 1 is an epoch at the own tokens.
        self._work = list(accumulate(each, initial=0.0))
        self.work = self._work[-1]  #: epochs at the own tokens that take as long as the training
        self._engine = Engine(
            model,
            settings,
            self.processes,
            steps_per_epoch=self.steps,
            teacher=self.teacher,
            class_weights=self._class_weights(),
            classes=None if settings.balance == "none" else self.network.num_classes,
        )
        if stored is not None:
            self._engine.plan(self.total)
            self._engine.load_state(stored.state, updates=self.updates)

    @property
    def saved(self) -> dict[str, float] | None:
        """Shares of the training that coarser tokens save, as in the result."""
        keys = {"macs": "fraction", "time": "time_fraction", "published": "published_fraction"}
        stages = self.origin.stages
        if not stages:
            return None
        return {
            name: saved(self._plan, [float(stage[key]) for stage in stages])
            for name, key in keys.items()
        }

    def run(self, tell: Tell, *, track: Track = untracked) -> None:
        """Train to the end; report every epoch, and in between whenever the losses are read.

        The reported share accounts for cheaper steps with coarser tokens. ``track`` gets the rows
        of epochs and of the log.
        """
        follow = self._follower(tell)
        log = self.tracked_log(track)
        epochs = self.epochs(partial(self._epoch, follow=follow, log=log))
        with (
            closing(self._train),
            closing(self._validation),
            closing(self._engine),
            closing(epochs),
        ):
            for row in epochs:
                track("epoch", row, row.epoch * self.steps)
                steps, speed = self.steps, row.images_per_second
                follow(Step(row.epoch - 1, steps, steps, row.train_loss, speed), row)
            self._write_predictions()

    def _write_predictions(self) -> None:
        """Write the predictions of the trained network for the validation images."""
        last, engine = self.history[-1], self._engine
        tokens = self._tokens(last.epoch - 1)
        if tokens is not None:
            engine.use_tokens(tokens)
        average = engine.average if last.average_is_better else None
        network = engine.network if average is None else average
        precision = self.origin.settings.precision
        images = self.sets.validation
        answers = predict(network, self._validation, images, self.processes, precision=precision)
        bad = set[str]().union(*self.processes.gather(set(self._validation.bad)))
        if self.processes.first:
            shown = shown_channels(images.kind)
            predictions_of(images.classes, answers, images.picture, shown=shown).write(
                self.folder / PREDICTIONS
            )
            # Of an unreadable picture, the answer is about the one that took its place. One to
            # train on may have the same name as a good one here.
            read = [answer for answer in answers if answer.image not in bad]
            write_answers(self.folder / ANSWERS, read)

    def images_per_second(self, workers: int = 0) -> float:
        """Throughput of a few batches, prepared by this process; it changes the weights.

        With ``workers`` that prepare batches while a GPU trains, the slower of both tells: they
        together take this process's time over their number.
        """
        warm_up = BEFORE_CAPTURE + 1 if self.processes.device.type == "cuda" else 1
        with closing(self._train), closing(self._engine):
            self._engine.train(0, islice(self._train, warm_up))
            batches = islice(self._train, _TIMED)
            if not workers:
                return self._engine.train(0, batches).images_per_second
            began = time.perf_counter()
            ready = list(batches)
            prepared = sum(len(images) for images, _ in ready) / (time.perf_counter() - began)
            trained = self._engine.train(0, ready).images_per_second
            return min(trained, workers * self.processes.world * prepared)

    def finish(self) -> None:
        """Write the trained network, which is derived from the checkpoint."""
        self._weights(self.history[-1]).write(self.folder / MODEL)

    @property
    def best(self) -> EpochRow | None:
        """The epoch with the best accuracy at the network's own tokens."""
        own = self._stages[-1] if self._stages else None
        rows = [row for row in self.history if self._tokens(row.epoch - 1) == own]
        return max(rows, key=lambda row: (row.best_score, -row.epoch), default=None)

    def _epoch(
        self, epoch: int, start: EpochPart, follow: Callable[[Step], None], log: StepLog
    ) -> EpochRow:
        began = time.monotonic() - start.seconds

        def report(step: Step) -> None:
            log.add(epoch * step.steps + step.done, step.losses, step.rates)
            follow(step)

        tokens = self._tokens(epoch)
        if tokens is not None:
            self._engine.use_tokens(tokens)
        self._train.set_epoch(epoch, start=start.updates)
        log.begin(epoch, start.losses.tolist())
        result = self._engine.train(epoch, self._train, start=start, keeper=self, progress=report)
        accuracy, average = self._engine.validate(self._validation)
        self.count_bad_images()
        return EpochRow(
            epoch=epoch + 1,
            tokens="" if tokens is None else str(tokens),
            learning_rate=result.learning_rate,
            train_loss=result.loss,
            loss=accuracy.loss,
            top1=accuracy.top1,
            top5=accuracy.top5,
            average_loss=None if average is None else average.loss,
            average_top1=None if average is None else average.top1,
            average_top5=None if average is None else average.top5,
            images_per_second=result.images_per_second,
            seconds=time.monotonic() - began,
            train_top1=result.top1,
            balanced=accuracy.balanced,
            average_balanced=None if average is None else average.balanced,
        )

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
        self._engine.plan(self.total, updates=self.updates)

    def count_bad_images(self) -> None:
        """Add those of all processes, in this session, to those of the sessions before."""
        bad = self.processes.gather(self._train.bad + self._validation.bad)
        before = {} if self.stored is None else self.stored.bad_images
        self.bad_images = dict(sum(bad, Counter(before)))

    def state(self) -> EngineState:
        """The engine's state."""
        return self._engine.state()

    def write_outputs(self) -> None:
        """Write the metrics, and the best weights if they are the current ones."""
        if self.best is self.history[-1]:
            self._weights(self.history[-1]).write(self.folder / BEST)
        super().write_outputs()

    def _weights(self, row: EpochRow) -> WeightsFile:
        """The current network, or its moving average if that is better."""
        state, seen = self._engine.state(), self.origin.settings.train_on_validation
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

    def _follower(self, tell: Tell) -> Callable[..., None]:
        """Turns the steps of the engine, and the rows of epochs, into progress."""
        resumed = len(self.history)
        before, began = self._share(self.updates / self.steps), time.monotonic()

        def follow(step: Step, row: EpochRow | None = None) -> None:
            if row is None and step.done == step.steps:
                return  # the last step of an epoch is reported with its accuracy
            words = [] if row else [f"step {step.done}/{step.steps} of epoch {step.epoch + 1}"]
            words += [f"loss {step.loss:.3f}", f"{number(step.images_per_second)} images/s"]
            if self.history:
                last = self.history[-1]
                accuracy = _accuracy(last, self.network.num_classes)
                words.append(accuracy if row else f"epoch {last.epoch}: {accuracy}")
            tell(
                Progress(
                    "epoch",
                    len(self.history),
                    self.total,
                    resumed,
                    seconds=time.monotonic() - began,
                    state="  ".join(words),
                    share=self._share(step.epoch + step.done / step.steps),
                    share_resumed=before,
                    record=row,
                )
            )

        return follow

    def _tokens(self, epoch: int) -> Tokens | None:
        """The tokens of an epoch, from 0; None without stages."""
        return self._stages[self._plan.stage(epoch)] if self._stages else None

    def _share(self, epochs: float) -> float:
        """Share of the work that is done after some epochs, by the measured times."""
        done = float(np.interp(epochs, range(len(self._work)), self._work))
        return done / self._work[self.total]

    def _class_weights(self) -> Tensor | None:
        """Weights of the classes in the loss."""
        if self.origin.settings.balance != "weights":
            return None
        labels = self.sets.train.labels
        return torch.from_numpy(class_weights(labels, self.network.num_classes))

    def _loaders(self) -> tuple[Loader, Loader]:
        """This process's batches to train on and to validate on."""
        settings = self.origin.settings
        own = self.origin.normalisation
        batching = self.batching(
            **({} if own is None else vars(own)),
            augmentation=settings.augmentation,
            label_smoothing=settings.label_smoothing,
            balanced=settings.balance == "sampling",
            replace_bad=settings.bad_images == "replace",
        )
        part = -(-settings.batch_size // settings.accumulate)
        validation = validation_loader(self.sets.validation, replace(batching, batch_size=part))
        return train_loader(self.sets.train, batching), validation


def _accuracy(row: EpochRow, classes: int) -> str:
    """The accuracy of an epoch, in a few words."""
    parts = [f"top-1 {row.top1:.2f} %"]
    if classes > TOP:
        parts.append(f"top-5 {row.top5:.2f} %")
    if row.balanced is not None:
        parts.append(f"balanced {row.balanced:.2f} %")
    if row.average_top1 is not None:
        parts.append(f"top-1 of EMA weights {row.average_top1:.2f} %")
    if row.tokens:
        parts.append(f"tokens {row.tokens}")
    return "  ".join(parts)

"""The training engine: optimiser steps, validation, and the state of both."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from timm.loss import LabelSmoothingCrossEntropy, SoftTargetCrossEntropy
from timm.optim import create_optimizer_v2, list_optimizers
from timm.scheduler import create_scheduler_v2
from timm.utils import ModelEmaV3, distribute_bn
from torch import Tensor, nn

from asvit.models.retokenization import Tokens, retokenize
from asvit.training.checkpoint import EngineState, check_finite, load_optimizer, optimizer_state
from asvit.training.distillation import (
    Outputs,
    Teacher,
    class_logits,
    distillation_loss,
    use_two_heads,
)
from asvit.training.distributed import ProcessGroup
from asvit.training.metrics import Accuracy, Batches, autocast, evaluate
from asvit.training.settings import TrainSettings
from proxies.evaluation import seed_for
from proxies.memory import out_of_memory
from proxies.messages import unknown

CHECK_EVERY = 50  # steps; reading the losses waits for the device


@dataclass(frozen=True)
class Step:
    """Progress within an epoch.

    Attributes:
        epoch: The epoch, from 0.
        done: Steps done.
        steps: Steps of the epoch.
        loss: Mean loss since the last report, nats.
        images_per_second: Throughput of all processes since the epoch began.
    """

    epoch: int
    done: int
    steps: int
    loss: float
    images_per_second: float


@dataclass(frozen=True)
class EpochResult:
    """Result of the training part of an epoch.

    Attributes:
        loss: Mean over its steps, nats.
        images_per_second: Throughput of all processes.
        learning_rate: Learning rate of its last update.
    """

    loss: float
    images_per_second: float
    learning_rate: float


class Engine:
    """Trains a network. Every process has its own engine, and all apply the same updates.

    An update depends only on the seed, its number and the state. So training that resumes from
    :meth:`state` gives the same bits as one that never stopped (on one CPU, with the same number
    of threads and processes).

    Args:
        network: ``[B, 3, S, S] -> [B, classes]``; trained in place, moved to the device.
        settings: Settings of the training.
        processes: The processes that train together.
        steps_per_epoch: Updates of an epoch.
        teacher: Teacher for distillation; None for none.

    Attributes:
        network: The network, not wrapped.
        average: Moving average of its weights; None without one.

    Raises:
        ValueError: If timm has no such optimiser, or a weight is infinite or NaN.
    """

    def __init__(
        self,
        network: nn.Module,
        settings: TrainSettings,
        processes: ProcessGroup,
        *,
        steps_per_epoch: int,
        teacher: Teacher | None = None,
    ) -> None:
        check_finite(network.state_dict(), what="the weights to start from")
        self._settings = settings
        self._processes = processes
        self._steps = steps_per_epoch
        self._device = processes.device
        self.network = network.to(self._device)
        self._teacher = None if teacher is None else teacher.to(self._device)
        if teacher is not None:
            use_two_heads(network)
        self._ema = ModelEmaV3(network, decay=settings.ema) if settings.ema else None
        self._optimizer = _optimizer(network, settings)
        self._schedule, _ = create_scheduler_v2(
            self._optimizer,
            num_epochs=settings.epochs,
            warmup_epochs=settings.warmup_epochs,
            warmup_lr=settings.warmup_lr,
            min_lr=settings.min_lr,
            step_on_epochs=False,
            updates_per_epoch=steps_per_epoch,
        )
        self._soft = SoftTargetCrossEntropy()
        smoothing = settings.label_smoothing
        self._hard = LabelSmoothingCrossEntropy(smoothing) if smoothing else nn.CrossEntropyLoss()
        if settings.compile:
            network.compile()
        self._wrapped = processes.wrap(network)

    @property
    def average(self) -> nn.Module | None:
        """Moving average of the weights, as a network in evaluation mode; None without one."""
        return None if self._ema is None else self._ema.module

    @property
    def _networks(self) -> list[nn.Module]:
        return [self.network] if self.average is None else [self.network, self.average]

    def use_tokens(self, tokens: Tokens) -> None:
        """Re-tokenize the network and its average; weights and optimiser state are kept.

        Raises:
            ValueError: If the network does not support it.
        """
        for network in self._networks:
            retokenize(network, tokens)

    def train(
        self, epoch: int, batches: Batches, *, progress: Callable[[Step], None] | None = None
    ) -> EpochResult:
        """Train for one epoch.

        Cost: about three forward passes per image, and one of the teacher.

        Args:
            epoch: Its number, from 0.
            batches: This process's share of every batch: images ``[b, 3, S, S]``, and labels
                ``[b]`` int64 or soft targets ``[b, classes]``, on the CPU.
            progress: Called whenever the losses are read.

        Raises:
            ValueError: If the loss or a weight is no longer finite.
            MemoryError: If memory runs out.
        """
        losses = torch.zeros(self._steps, device=self._device)
        seen, checked, began = 0, 0, time.monotonic()
        rate = 0.0
        self.network.train()
        devices = [self._device] if self._device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            for step, (images, targets) in enumerate(batches):
                rate = max(group["lr"] for group in self._optimizer.param_groups)
                with _memory_advice(epoch, step):
                    losses[step] = self._update(images, targets, epoch * self._steps + step)
                seen += len(images) * self._processes.world
                if not self._check_due(step):
                    continue
                recent = self._checked_mean(losses[checked : step + 1], epoch, checked)
                losses[checked : step + 1] = recent
                checked = step + 1
                if progress is not None:
                    speed = seen / (time.monotonic() - began)
                    progress(Step(epoch, checked, self._steps, float(recent.mean()), speed))
        self._average_batch_norms()
        mean, speed = float(losses.mean()), seen / (time.monotonic() - began)
        self._check_weights(epoch)
        return EpochResult(mean, speed, rate)

    def validate(self, batches: Batches) -> tuple[Accuracy, Accuracy | None]:
        """Evaluate the network, each process on its share of the images.

        Returns:
            The accuracy of the network, and of its moving average or None without one.
        """
        precision = self._settings.precision
        own, *average = evaluate(self._networks, batches, self._processes, precision=precision)
        return own, average[0] if average else None

    def state(self) -> EngineState:
        """Everything that later epochs depend on; tensors are not copied."""
        tensors, numbers = optimizer_state(self._optimizer)
        return EngineState(
            weights=self.network.state_dict(),
            average={} if self.average is None else self.average.state_dict(),
            moments=tensors,
            numbers=numbers,
        )

    def load_state(self, state: EngineState, *, epochs: int) -> None:
        """Resume from the :meth:`state` after so many epochs.

        Raises:
            ValueError: If it belongs to another network or optimiser.
        """
        state.load(self.network, self.average)
        load_optimizer(self._optimizer, state.moments, state.numbers)
        self._schedule.step_update(epochs * self._steps)

    def _update(self, images: Tensor, targets: Tensor, update: int) -> Tensor:
        """Take one optimiser step; returns the loss of this process's share."""
        settings = self._settings
        # Seeded by number: no other draw can change dropout and drop-path.
        torch.manual_seed(seed_for(settings.seed, f"dropout {self._processes.rank}", update))
        images = images.to(self._device, non_blocking=True)
        targets = targets.to(self._device, non_blocking=True)
        total = torch.zeros((), device=self._device)
        parts = list(zip(*(x.chunk(settings.accumulate) for x in (images, targets)), strict=True))
        for number, (inputs, labels) in enumerate(parts, 1):
            # Gradients are averaged over processes once, with the last part.
            last = number == len(parts)
            with nullcontext() if last else self._processes.no_sync(self._wrapped):
                loss = self._loss(inputs, labels) * (len(inputs) / len(images))
                loss.backward()
            total += loss.detach()
        if settings.clip:
            nn.utils.clip_grad_norm_(self.network.parameters(), settings.clip)
        self._optimizer.step()
        self._optimizer.zero_grad()
        self._schedule.step_update(update + 1)
        if self._ema is not None:
            self._ema.update(self.network)
        return total

    def _loss(self, images: Tensor, targets: Tensor) -> Tensor:
        """Mean loss of some images: classification and distillation, weighted."""
        settings = self._settings
        with autocast(self._device, settings.precision):
            outputs: Outputs = self._wrapped(images)
            teacher_logits = None if self._teacher is None else self._teacher(images)
        criterion = self._soft if targets.is_floating_point() else self._hard
        loss: Tensor = criterion(class_logits(outputs).float(), targets)
        if teacher_logits is None:
            return loss
        distilled = distillation_loss(
            outputs, teacher_logits, kind=settings.distillation, temperature=settings.temperature
        )
        share = settings.distillation_weight
        return (1 - share) * loss + share * distilled

    def _check_due(self, step: int) -> bool:
        """Whether to read the losses after this step: always on one CPU, which has no queue."""
        always = self._device.type == "cpu" and self._processes.world == 1
        return always or (step + 1) % CHECK_EVERY == 0 or step + 1 == self._steps

    def _checked_mean(self, losses: Tensor, epoch: int, first: int) -> Tensor:
        """Average the losses of some steps over the processes.

        Raises:
            ValueError: In every process, if a loss is not finite.
        """
        means = self._processes.mean(losses)
        for step, loss in enumerate(means.tolist(), first + 1):
            if not math.isfinite(loss):
                raise ValueError(
                    f"the loss became {loss} in epoch {epoch + 1}, step {step}; {self._advice}"
                )
        return means

    def _average_batch_norms(self) -> None:
        """Average the running statistics of batch norms over the processes."""
        for network in self._networks:
            if self._processes.world > 1:
                distribute_bn(network, self._processes.world, reduce=True)

    def _check_weights(self, epoch: int) -> None:
        """Reject weights that are not finite: after the last step, no loss would show them.

        Raises:
            ValueError: If a weight is not finite.
        """
        finite = torch.stack([p.detach().isfinite().all() for p in self.network.parameters()])
        if not bool(finite.all()):
            raise ValueError(
                f"weights became infinite or NaN in epoch {epoch + 1}, step {self._steps}; "
                f"{self._advice}"
            )

    @property
    def _advice(self) -> str:
        rate = self._settings.learning_rate
        return (
            f"nothing of this epoch was kept; use a lower learning rate than {rate:g}, "
            "a longer warm-up or a lower clip"
        )


@contextmanager
def _memory_advice(epoch: int, step: int) -> Iterator[None]:
    """Add advice to the error if a step runs out of memory.

    Raises:
        MemoryError: If the step runs out of memory.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        raise MemoryError(
            f"memory ran out in epoch {epoch + 1}, step {step + 1}; nothing of this epoch was "
            "kept; use a larger accumulate or a smaller batch_size"
        ) from error


def _optimizer(network: nn.Module, settings: TrainSettings) -> torch.optim.Optimizer:
    """The optimiser; biases, norms and parameters that the network names get no weight decay."""
    name = settings.optimizer
    if name not in list_optimizers():
        raise ValueError(unknown("optimizer", name, list_optimizers()))
    optimizer: torch.optim.Optimizer = create_optimizer_v2(
        network, opt=name, lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    return optimizer

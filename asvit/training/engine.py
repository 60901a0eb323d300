"""The engine of a training: updates of an epoch, validation, and everything they depend on."""

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
from asvit.training.distillation import (
    Outputs,
    Teacher,
    class_logits,
    distillation_loss,
    use_two_heads,
)
from asvit.training.processes import Processes
from asvit.training.settings import TrainSettings
from asvit.training.state import EngineState, check_finite, load_optimizer, optimizer_state
from asvit.training.validation import Accuracy, Batches, autocast, evaluate
from proxies.evaluation import seed_for
from proxies.memory import out_of_memory
from proxies.messages import unknown

LOOK_EVERY = 50  # steps between two looks at the losses, each of which waits for the device


@dataclass(frozen=True)
class Step:
    """How far an epoch is.

    Attributes:
        epoch: The epoch, from 0.
        done: Its steps that are done.
        steps: All of them.
        loss: Mean of the losses since the last look, nats.
        images_per_second: Images of all processes, since the epoch began.
    """

    epoch: int
    done: int
    steps: int
    loss: float
    images_per_second: float


@dataclass(frozen=True)
class Epoch:
    """What the training part of an epoch came to.

    Attributes:
        loss: Mean over its steps, nats.
        images_per_second: Images of all processes.
        learning_rate: Of its last update.
    """

    loss: float
    images_per_second: float
    learning_rate: float


class Engine:
    """A network in training: every process has one, and all do the same updates.

    What an update does follows from the seed, its number and the state, so that training that
    goes on from :meth:`state` gives the bits of one never stopped (on one CPU, with as many
    threads and processes).

    Args:
        network: ``[B, 3, S, S] -> [B, classes]``; trained in place, moved to the device.
        settings: Settings of the training.
        processes: Those that train together.
        steps_per_epoch: Updates of an epoch.
        teacher: Gives the logits to learn from; None for none.

    Attributes:
        network: The network itself.
        average: The moving average of it; None where there is none.

    Raises:
        ValueError: If timm has no such optimiser, or a weight is infinite or NaN.
    """

    def __init__(
        self,
        network: nn.Module,
        settings: TrainSettings,
        processes: Processes,
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
        self._shared = processes.share(network)

    @property
    def average(self) -> nn.Module | None:
        """The moving average of the network, in evaluation mode."""
        return None if self._ema is None else self._ema.module

    def use_tokens(self, tokens: Tokens) -> None:
        """Change the stem to these tokens; weights, averages and the optimiser go on.

        Raises:
            ValueError: If the network cannot.
        """
        for network in (self.network, self.average):
            if network is not None:
                retokenize(network, tokens)

    def train(
        self, epoch: int, batches: Batches, *, progress: Callable[[Step], None] | None = None
    ) -> Epoch:
        """Train for an epoch, from 0.

        Cost: three forward passes for each image, and one of the teacher.

        Args:
            epoch: Its number, from 0.
            batches: This process's share of each batch: images ``[b, 3, S, S]``, and labels
                ``[b]`` int64 or soft targets ``[b, classes]``, on the CPU.
            progress: Called now and then.

        Raises:
            ValueError: If the loss or a weight is no longer finite.
            MemoryError: If memory runs out.
        """
        losses = torch.zeros(self._steps, device=self._device)
        seen, looked, began = 0, 0, time.monotonic()
        rate = 0.0
        self.network.train()
        on = [self._device] if self._device.type == "cuda" else []
        with torch.random.fork_rng(on):
            for step, (images, targets) in enumerate(batches):
                rate = max(group["lr"] for group in self._optimizer.param_groups)
                with _in_memory(epoch, step):
                    losses[step] = self._update(images, targets, epoch * self._steps + step)
                seen += len(images) * self._processes.world
                if not self._due(step):
                    continue
                since = self._agreed(losses[looked : step + 1], epoch, looked)
                losses[looked : step + 1] = since
                looked = step + 1
                if progress is not None:
                    pace = seen / (time.monotonic() - began)
                    progress(Step(epoch, looked, self._steps, float(since.mean()), pace))
        self._agree_on_statistics()
        mean, pace = float(losses.mean()), seen / (time.monotonic() - began)
        self._check_weights(epoch)
        return Epoch(mean, pace, rate)

    def validate(self, batches: Batches) -> tuple[Accuracy, Accuracy | None]:
        """How good the network is on images, each process with its share of them.

        Returns:
            The accuracy of the network and that of its moving average; None where there is none.
        """
        networks = [self.network] if self.average is None else [self.network, self.average]
        precision = self._settings.precision
        found = evaluate(networks, batches, self._processes, precision=precision)
        return found[0], found[1] if len(found) > 1 else None

    def state(self) -> EngineState:
        """Everything that later epochs depend on; tensors are not copied from the CPU."""
        tensors, numbers = optimizer_state(self._optimizer)
        return EngineState(
            weights=self.network.state_dict(),
            average={} if self.average is None else self.average.state_dict(),
            moments=tensors,
            numbers=numbers,
        )

    def load_state(self, state: EngineState, *, epochs: int) -> None:
        """Go on from what :meth:`state` gave after so many epochs.

        Raises:
            ValueError: If it is of another network or another optimiser.
        """
        state.load(self.network, self.average)
        load_optimizer(self._optimizer, state.moments, state.numbers)
        self._schedule.step_update(epochs * self._steps)

    def _update(self, images: Tensor, targets: Tensor, update: int) -> Tensor:
        """One step of the optimiser; the loss of this process's share."""
        settings = self._settings
        # By its number, so that nothing else that draws can change dropout and drop-path.
        torch.manual_seed(seed_for(settings.seed, f"dropout {self._processes.rank}", update))
        images = images.to(self._device, non_blocking=True)
        targets = targets.to(self._device, non_blocking=True)
        total = torch.zeros((), device=self._device)
        parts = list(zip(*(x.chunk(settings.accumulate) for x in (images, targets)), strict=True))
        for number, (some, wanted) in enumerate(parts, 1):
            # Gradients travel between processes with the last part alone.
            last = number == len(parts)
            with nullcontext() if last else self._processes.alone(self._shared):
                loss = self._loss(some, wanted) * (len(some) / len(images))
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
        """The mean loss of these images, about their classes and about the teacher."""
        settings = self._settings
        with autocast(self._device, settings.precision):
            outputs: Outputs = self._shared(images)
            taught = None if self._teacher is None else self._teacher(images)
        criterion = self._soft if targets.is_floating_point() else self._hard
        loss: Tensor = criterion(class_logits(outputs).float(), targets)
        if taught is None:
            return loss
        learned = distillation_loss(
            outputs, taught, kind=settings.distillation, temperature=settings.temperature
        )
        share = settings.distillation_weight
        return (1 - share) * loss + share * learned

    def _due(self, step: int) -> bool:
        """Whether to look at the losses after this step: a CPU has no queue to wait for."""
        always = self._device.type == "cpu" and self._processes.world == 1
        return always or (step + 1) % LOOK_EVERY == 0 or step + 1 == self._steps

    def _agreed(self, losses: Tensor, epoch: int, first: int) -> Tensor:
        """The losses of some steps, averaged over the processes.

        Raises:
            ValueError: If one is not finite, in every process.
        """
        agreed = self._processes.mean(losses)
        for step, loss in enumerate(agreed.tolist(), first + 1):
            if not math.isfinite(loss):
                raise ValueError(
                    f"the loss became {loss} in epoch {epoch + 1}, step {step}; {self._advice}"
                )
        return agreed

    def _agree_on_statistics(self) -> None:
        """Average what batch norms have seen of their inputs over the processes."""
        for network in (self.network, self.average):
            if network is not None and self._processes.world > 1:
                distribute_bn(network, self._processes.world, reduce=True)

    def _check_weights(self, epoch: int) -> None:
        """A gradient that is not finite shows in the loss of the next step, which may not come.

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
def _in_memory(epoch: int, step: int) -> Iterator[None]:
    """Say what takes less memory where a step runs out of it.

    Raises:
        MemoryError: If it does.
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
    """The optimiser, which spares biases, norms and what the network names from weight decay."""
    name = settings.optimizer
    if name not in list_optimizers():
        raise ValueError(unknown("optimizer", name, list_optimizers()))
    made: torch.optim.Optimizer = create_optimizer_v2(
        network, opt=name, lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    return made

"""The one loop of all trainings: the updates of a task, and what they depend on."""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol
from weakref import proxy

import torch
from timm.utils import ModelEmaV3, distribute_bn
from torch import Tensor, nn

from asvit.networks import load_state
from asvit.training.checkpoint import EpochPart, TrainerState, load_optimizer, optimizer_state
from asvit.training.distributed import ProcessGroup
from asvit.training.layout import use_fast_convolutions
from asvit.training.precision import arithmetic, autocast
from asvit.training.step_graph import StepGraph
from asvit.training.task import Batch, Task
from proxies.evaluation import seed_generators
from proxies.functional import to_host
from proxies.messages import first_line, out_of_memory
from proxies.text import one_line

LOSS = "loss"
READ_EVERY = 50  # steps, as reading waits for those that are queued
_COMPILERS = ("torch._dynamo", "torch._inductor")


class Diverged(ValueError):
    """A loss or a weight became infinite or NaN."""


@dataclass(frozen=True)
class Step:
    """Progress within an epoch, from 0."""

    epoch: int
    done: int
    steps: int
    loss: float  # mean since the last report, nats
    images_per_second: float  # of all processes, since the epoch began, or was continued
    losses: Sequence[float] = ()  # of the steps since the last report, nats


class Keeper(Protocol):
    """Stores the part of an epoch that is done; every process has one."""

    def due(self) -> bool:
        """Whether this process wants the part to be stored now."""

    def keep(self, part: EpochPart) -> None:
        """Store the part; called in every process."""


@dataclass(frozen=True)
class EpochResult:
    """The training part of an epoch."""

    loss: float  # mean of its steps, nats
    images_per_second: float  # of all processes
    learning_rate: float  # of the last step
    #: Sums over its steps of the loss and of the other numbers of a task, means over processes.
    sums: Mapping[str, float] = field(default_factory=dict)


class Trainer:
    """Trains a task. Every process has its own trainer, and all apply the same updates.

    Training that resumes from :meth:`state`, after any update, gives the same bits as one that
    never stopped (on one CPU, with the same number of threads and processes).

    Example::

        trainer = Trainer(task, ProcessGroup("cpu"), epochs=10)
        with closing(trainer):
            for epoch in range(10):
                result = trainer.train(epoch)
    """

    def __init__(self, task: Task[Any], processes: ProcessGroup, *, epochs: int) -> None:
        self.task, self.processes = task, processes
        self._device = device = processes.device
        network = task.network
        _check_finite(network.state_dict(), what="the weights to start from")
        network.to(device)
        use_fast_convolutions(network, device)
        self._ema = ModelEmaV3(network, decay=task.ema) if task.ema else None
        self._optimizer = task.optimizer(device)
        self.plan(epochs)
        if task.compiled:
            network.compile()
        self._wrapped = processes.wrap(network)
        self._names: tuple[str, ...] = ()  # of the numbers of an update
        # Compiled networks have their own graphs, and processes wait for each other.
        captured = task.captured and not task.compiled and processes.world == 1
        own: Any = proxy(self)  # a cycle would keep the memory until it is collected
        self._step = StepGraph(
            lambda *batch: own._take_step(*batch),
            network,
            self._optimizer,
            steps=epochs * task.steps if captured else 0,
            device=device,
        )

    def close(self) -> None:
        """Give memory back that only further steps would need."""
        self._step.close()

    def plan(self, epochs: int) -> None:
        """Schedule the learning rate over so many epochs."""
        self.epochs = epochs
        self._rate = self.task.schedule(epochs)

    @property
    def average(self) -> nn.Module | None:
        """Moving average of the weights, as a network in evaluation mode; None without one."""
        return None if self._ema is None else self._ema.module

    @property
    def networks(self) -> list[nn.Module]:
        """The network, and its average if there is one."""
        return [self.task.network, *([] if self.average is None else [self.average])]

    @property
    def read_every(self) -> int:
        """Steps whose losses are read together: no step waits in a queue of one CPU."""
        alone = self._device.type == "cpu" and self.processes.world == 1
        return 1 if alone else READ_EVERY

    def train(
        self,
        epoch: int,
        *,
        start: EpochPart | None = None,
        keeper: Keeper | None = None,
        progress: Callable[[Step], None] | None = None,
        batches: Iterable[Batch] | None = None,
    ) -> EpochResult:
        """Train for one epoch: about three forward passes per image.

        Args:
            epoch: Its number, from 0.
            start: The part of the epoch that is done.
            keeper: Stores the part that is done, where losses are read.
            progress: Called whenever losses are read.
            batches: To take in place of the task's, as where a few are timed.

        Raises:
            Diverged: If a loss or a weight is NaN or infinite.
            ValueError: If a compilation fails.
            MemoryError: If memory runs out.
        """
        task, steps = self.task, self.task.steps
        start = start or EpochPart()
        if task.begin(epoch, self.networks):
            self._step.forget()
        unread = list[Tensor]()
        losses, sums = list(start.losses), Counter[str](start.sums)
        done, rate, began = len(losses), 0.0, time.monotonic()
        task.network.train()
        with self._running():
            for batch in task.batches(epoch, done) if batches is None else batches:
                rate = self._set_rate(epoch * steps + done)
                with self._explained(epoch, done):
                    unread.append(self._update(batch, epoch * steps + done))
                done += 1
                if len(unread) < self.read_every and done < steps:
                    continue
                due = keeper is not None and keeper.due()
                numbers, keep = self._read(torch.stack(unread), epoch, done, due)
                for row in numbers:
                    sums.update(dict(zip((LOSS, *self._names), row, strict=True)))
                recent = [row[0] for row in numbers]
                losses += recent
                seconds = time.monotonic() - began
                if progress is not None:
                    speed = (done - len(start.losses)) * task.batch_size / seconds
                    mean = sum(recent) / len(recent)
                    progress(Step(epoch, done, steps, mean, speed, recent))
                unread.clear()
                if keep and keeper is not None and done < steps:
                    self._check_weights(epoch, done)
                    keeper.keep(EpochPart(tuple(losses), start.seconds + seconds, dict(sums)))
        if self.processes.world > 1:
            for network in self.networks:  # their running statistics
                distribute_bn(network, self.processes.world, reduce=True)
        # After the last step, no loss would show it. It also waits for the steps that are timed.
        self._check_weights(epoch, steps)
        speed = (done - len(start.losses)) * task.batch_size / (time.monotonic() - began)
        return EpochResult(float(torch.tensor(losses).mean()), speed, rate, sums)

    def state(self) -> TrainerState:
        """Everything that later updates depend on; tensors are not copied."""
        tensors, numbers = optimizer_state(self._optimizer)
        average = {} if self.average is None else self.average.state_dict()
        return TrainerState(self.task.network.state_dict(), average, tensors, numbers)

    def load_state(self, state: TrainerState) -> None:
        """Resume from a :meth:`state`."""
        load_state(self.task.network, state.weights, what="the weights of the checkpoint")
        if self.average is not None:
            load_state(self.average, state.average, what="the averages of the checkpoint")
        load_optimizer(self._optimizer, state.optimizer, state.numbers)
        self._step.forget()

    @contextmanager
    def _running(self) -> Iterator[None]:
        """What holds for the updates of an epoch; the random state stays as it was."""
        task, device = self.task, self._device
        passes = task.steps * self.epochs if task.one_shape else 0
        with (
            torch.random.fork_rng([device] if device.type == "cuda" else []),
            arithmetic(device, task.precision, passes=passes),
            self._step.running(),
        ):
            yield

    def _set_rate(self, update: int) -> float:
        rate = self._rate(update)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        return rate

    def _update(self, batch: Batch, update: int) -> Tensor:
        """Take one optimiser step; returns its loss and its other numbers."""
        # Seeded by number: no other draw can change dropout and drop-path.
        seed = self.task.update_seed(update, self.processes.rank)
        if seed is not None:
            seed_generators(seed, self._device)
        return self._step(*batch)

    def _take_step(self, *batch: Any) -> Tensor:
        """Change the weights, and their average, by a batch; returns its numbers, ``[n]``."""
        task, network = self.task, self.task.network
        parts, casts = [batch], task.precision if task.casts else "fp32"
        if task.accumulate > 1:
            parts = list(zip(*(x.chunk(task.accumulate) for x in batch), strict=True))
        numbers = list[Tensor]()
        for place, part in enumerate(parts, 1):
            # Gradients are averaged over processes once, with the last part.
            last = place == len(parts)
            with nullcontext() if last else self.processes.no_sync(self._wrapped):
                with autocast(self._device, casts):
                    loss, others = task.losses(self._wrapped, *part)
                if len(parts) > 1:
                    loss = loss * (len(part[0]) / len(batch[0]))
                loss.backward()
            numbers.append(torch.stack([x.detach().float() for x in (loss, *others.values())]))
            self._names = tuple(others)
        if task.clip:
            nn.utils.clip_grad_norm_(network.parameters(), task.clip)
        self._optimizer.step()
        self._optimizer.zero_grad()
        if self._ema is not None:
            self._ema.update(network)
        return numbers[0] if len(parts) == 1 else torch.stack(numbers).sum(0)

    def _read(
        self, unread: Tensor, epoch: int, done: int, due: bool
    ) -> tuple[list[list[float]], bool]:
        """The numbers of the last steps, ``[steps, n]``, averaged over the processes.

        Also whether any process wants the part of the epoch to be stored.
        """
        means, keep = self.processes.mean_and_any(unread.flatten(), due)
        numbers: list[list[float]] = means.view_as(unread).tolist()
        for step, (loss, *_) in enumerate(numbers, done - len(numbers) + 1):
            if not math.isfinite(loss):
                place = self._place(epoch, step)
                raise Diverged(f"the loss became {loss} in {place}; {self._advice}")
        return numbers, keep

    def _check_weights(self, epoch: int, step: int) -> None:
        """Refuse NaN and infinity; it waits for the device."""
        what = f"after {self._place(epoch, step)} the weights"
        _check_finite(self.task.network.state_dict(), what=what, advice=f"; {self._advice}")

    def _place(self, epoch: int, step: int) -> str:
        return f"step {step}" if self.epochs == 1 else f"epoch {epoch + 1}, step {step}"

    @property
    def _advice(self) -> str:
        task = self.task
        clip = f"a lower clip than {task.clip:g}" if task.clip else "a clip, such as 1"
        return f"use a lower learning rate than {task.learning_rate:g}, a longer warm-up or {clip}"

    @contextmanager
    def _explained(self, epoch: int, step: int) -> Iterator[None]:
        """Say what helps where an update fails for lack of memory or of a compiler."""
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            if self.task.compiled and type(error).__module__.startswith(_COMPILERS):
                why = one_line(" ".join(str(error).partition("\n\n")[0].split()))
                raise ValueError(f"torch.compile failed ({why}); leave out --compile") from error
            if not out_of_memory(error):
                raise
            raise MemoryError(
                f"memory ran out in {self._place(epoch, step + 1)} ({first_line(error)}); use "
                f"{self.task.less_memory}"
            ) from error


def _check_finite(tensors: Mapping[str, Tensor], *, what: str, advice: str = "") -> None:
    """Reject NaN and infinity: training cannot recover from them. ``what`` names the tensors."""
    finite = to_host([tensor.isfinite().all() for tensor in tensors.values()])
    for name, good in zip(tensors, finite, strict=True):
        if not good:
            raise Diverged(f"{what} are infinite or NaN, as in {one_line(name)!r}{advice}")

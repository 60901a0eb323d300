"""The one loop of all trainings: what a training is of, and its updates."""

import math
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from weakref import proxy

import torch
from timm.utils import distribute_bn
from torch import Tensor, nn

from asvit.networks import load_state
from asvit.training.distributed import ProcessGroup
from asvit.training.optimizers import load_optimizer, optimizer_state
from asvit.training.precision import arithmetic, autocast, use_fast_convolutions
from asvit.training.step_graph import StepGraph
from proxies.evaluation import seed_for, seed_generators
from proxies.functional import to_host
from proxies.messages import first_line, out_of_memory
from proxies.text import one_line

Row = TypeVar("Row")  # a dataclass: what is recorded of an epoch
Batch = tuple[Any, ...]  # the arguments of a task's losses

LOSS = "loss"
READ_EVERY = 50  # steps, as reading waits for those that are queued


class Task(ABC, Generic[Row]):
    """What a :class:`Trainer` trains: a network, its batches, loss, optimiser and metrics.

    An update may depend on its number and :attr:`seed`, on nothing that earlier ones left but the
    network and the optimiser: then a training resumes at any of them.
    """

    network: nn.Module  #: trained in place; the trainer moves it to the device of the processes
    steps: int  #: updates of an epoch
    batch_size: int  #: images of an update, over all processes
    learning_rate: float  #: the highest
    seed: int  #: of every draw
    clip: float = 0.0  #: largest gradient norm; 0 for none
    precision: str = "auto"  #: as of :func:`asvit.training.precision.resolve_precision`
    casts: bool = True  #: whether autocast is around all of the losses; else the task has its own
    one_shape: bool = True  #: whether all batches have the shapes of the first
    captured: bool = False  #: whether a CUDA graph may repeat an update

    @abstractmethod
    def batches(self, epoch: int, start: int) -> Iterable[Batch]:
        """This process's batches of an epoch, from 0, on its device, from a position in it on."""

    @abstractmethod
    def losses(self, network: nn.Module, *batch: Any) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The mean loss of a batch, and other numbers of it that are added up, by name.

        The ``network`` is the task's, perhaps wrapped to average gradients over processes.
        """

    @abstractmethod
    def optimizer(self, device: torch.device) -> torch.optim.Optimizer:
        """The optimiser of the network's parameters, which are on the device."""

    @abstractmethod
    def schedule(self, epochs: int) -> Callable[[int], float]:
        """The learning rate of every update, from 0, in a training of so many epochs."""

    def update_seed(self, update: int, rank: int) -> int | None:
        """The seed of what an update draws in a process; None to draw on from the last one."""
        return seed_for(self.seed, f"dropout {rank}", update)

    def begin(self, epoch: int) -> bool:
        """Change the network for an epoch; whether it did."""
        return False

    def evaluate(self) -> Any:
        """Metrics of the network; every process calls it."""

    def row(self, epoch: int, result: "EpochResult", metrics: Any, seconds: float) -> Row:
        """What is recorded of an epoch, from 0, with what :meth:`evaluate` returned."""
        raise NotImplementedError

    def state(self, row: Row) -> str:
        """The metrics of a row in a few words."""
        return ""

    def close(self) -> None:
        """End what prepares batches."""


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


@dataclass(frozen=True)
class EpochPart:
    """The first updates of an epoch, which has not ended; by default none."""

    losses: tuple[float, ...] = ()  # of each, mean over the processes; nats
    seconds: float = 0.0  # they took
    sums: Mapping[str, float] = field(default_factory=dict)  # of all numbers over them, by name


@dataclass(frozen=True)
class EpochResult:
    """The training part of an epoch."""

    loss: float  # mean of its steps, nats
    images_per_second: float  # of all processes
    learning_rate: float  # of the last step
    #: Sums over its steps of the loss and of the other numbers of a task, means over processes.
    sums: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainerState:
    """What later updates depend on."""

    weights: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]  # its state; empty after the last epoch


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
        self._optimizer = task.optimizer(device)
        self.plan(epochs)
        self._wrapped = processes.wrap(network)
        self._names: tuple[str, ...] = ()  # of the numbers of an update
        captured = task.captured and processes.world == 1  # processes wait for each other
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
    def read_every(self) -> int:
        """Steps whose losses are read together: no step waits in a queue of one CPU."""
        alone = self._device.type == "cpu" and self.processes.world == 1
        return 1 if alone else READ_EVERY

    def train(
        self,
        epoch: int,
        *,
        start: EpochPart | None = None,
        due: Callable[[], bool] = lambda: False,
        keep: Callable[[EpochPart], None] = lambda _part: None,
        progress: Callable[[Step], None] = lambda _step: None,
        batches: Iterable[Batch] | None = None,
    ) -> EpochResult:
        """Train for one epoch: about three forward passes per image.

        Args:
            epoch: Its number, from 0.
            start: The part of the epoch that is done.
            due: Whether this process wants the part to be stored, where losses are read.
            keep: Stores the part, in every process, if any wants it.
            progress: Called whenever losses are read.
            batches: To take in place of the task's, as where a few are timed.

        Raises:
            Diverged: If a loss or a weight is NaN or infinite.
            MemoryError: If memory runs out.
        """
        task, steps, start = self.task, self.task.steps, start or EpochPart()
        if task.begin(epoch):
            self._step.forget()
        unread = list[Tensor]()
        losses, sums = list(start.losses), Counter[str](start.sums)
        done, began = len(losses), time.monotonic()

        def speed() -> float:
            return (done - len(start.losses)) * task.batch_size / (time.monotonic() - began)

        task.network.train()
        with self._running():
            for batch in task.batches(epoch, done) if batches is None else batches:
                unread.append(self._update(batch, epoch, done))
                done += 1
                if len(unread) < self.read_every and done < steps:
                    continue
                numbers, wanted = self._read(torch.stack(unread), epoch, done, due())
                unread.clear()
                for row in numbers:
                    sums.update(dict(zip((LOSS, *self._names), row, strict=True)))
                recent = [row[0] for row in numbers]
                losses += recent
                mean = sum(recent) / len(recent)
                progress(Step(epoch, done, steps, mean, speed(), recent))
                if wanted and done < steps:
                    self._check_weights(epoch, done)
                    seconds = start.seconds + time.monotonic() - began
                    keep(EpochPart(tuple(losses), seconds, dict(sums)))
        if self.processes.world > 1:
            distribute_bn(task.network, self.processes.world, reduce=True)
        # After the last step, no loss would show it. It also waits for the steps that are timed.
        self._check_weights(epoch, steps)
        rate = self._rate(epoch * steps + done - 1)
        return EpochResult(float(torch.tensor(losses).mean()), speed(), rate, sums)

    def state(self) -> TrainerState:
        """Everything that later updates depend on; tensors are not copied."""
        return TrainerState(self.task.network.state_dict(), optimizer_state(self._optimizer))

    def load_state(self, state: TrainerState) -> None:
        """Resume from a :meth:`state`."""
        load_state(self.task.network, state.weights, what="the weights of the checkpoint")
        load_optimizer(self._optimizer, state.optimizer)
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

    def _update(self, batch: Batch, epoch: int, done: int) -> Tensor:
        """Take one optimiser step; returns its loss and its other numbers."""
        update = epoch * self.task.steps + done
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate(update)
        # Seeded by number: no other draw can change dropout and drop-path.
        seed = self.task.update_seed(update, self.processes.rank)
        if seed is not None:
            seed_generators(seed, self._device)
        try:
            return self._step(*batch)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            raise MemoryError(
                f"memory ran out in {self._place(epoch, done + 1)} ({first_line(error)}); use a "
                "smaller batch_size, or grad_checkpointing where there is such an option"
            ) from error

    def _take_step(self, *batch: Any) -> Tensor:
        """Change the weights by a batch; returns its numbers, ``[n]``."""
        task = self.task
        with autocast(self._device, task.precision if task.casts else "fp32"):
            loss, others = task.losses(self._wrapped, *batch)
        loss.backward()
        if task.clip:
            nn.utils.clip_grad_norm_(task.network.parameters(), task.clip)
        self._optimizer.step()
        self._optimizer.zero_grad()
        self._names = tuple(others)
        return torch.stack([number.detach().float() for number in (loss, *others.values())])

    def _read(
        self, unread: Tensor, epoch: int, done: int, due: bool
    ) -> tuple[list[list[float]], bool]:
        """The numbers of the last steps, ``[steps, n]``, averaged over the processes.

        Also whether any process wants the part of the epoch to be stored.
        """
        means, wanted = self.processes.mean_and_any(unread.flatten(), due)
        numbers: list[list[float]] = means.view_as(unread).tolist()
        for step, (loss, *_) in enumerate(numbers, done - len(numbers) + 1):
            if not math.isfinite(loss):
                place = self._place(epoch, step)
                raise Diverged(f"the loss became {loss} in {place}; {self._advice}")
        return numbers, wanted

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


def _check_finite(tensors: Mapping[str, Tensor], *, what: str, advice: str = "") -> None:
    """Reject NaN and infinity: training cannot recover from them. ``what`` names the tensors."""
    finite = to_host([tensor.isfinite().all() for tensor in tensors.values()])
    for name, good in zip(tensors, finite, strict=True):
        if not good:
            raise Diverged(f"{what} are infinite or NaN, as in {one_line(name)!r}{advice}")

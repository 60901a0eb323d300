"""The training engine: optimiser steps, validation, and the state of both."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import KW_ONLY, dataclass
from typing import Any, Protocol, cast
from weakref import proxy

import torch
from timm.loss import LabelSmoothingCrossEntropy, SoftTargetCrossEntropy
from timm.optim import create_optimizer_v2, get_optimizer_info, list_optimizers
from timm.scheduler import create_scheduler_v2
from timm.utils import ModelEmaV3, distribute_bn
from torch import Tensor, nn, optim

from asvit.models.blocks import recompute_blocks
from asvit.models.retokenization import Tokens, retokenize
from asvit.training.checkpoint import (
    EngineState,
    EpochPart,
    check_finite,
    load_optimizer,
    optimizer_state,
)
from asvit.training.device_queue import UnreadLosses
from asvit.training.distillation import Outputs, Teacher, distillation_loss
from asvit.training.distributed import ProcessGroup
from asvit.training.layout import fast_layout, use_fast_convolutions
from asvit.training.metrics import Accuracy, Batches, evaluate, weighted_loss
from asvit.training.muon import Muon
from asvit.training.precision import arithmetic, autocast
from asvit.training.settings import WARMUP_SHARE, TrainSettings, tighter_clip
from asvit.training.step_graph import StepGraph
from proxies.evaluation import seed_for, seed_generators
from proxies.messages import first_line, out_of_memory, unknown
from proxies.text import one_line

_COMPILERS = ("torch._dynamo", "torch._inductor")
_FUSED = ("cpu", "cuda")  # devices on which PyTorch updates all weights in one kernel
_HITS = "hits"  # images of the epoch that were classified rightly
_KEPT = "nothing after the last checkpoint was kept"


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
    rates: Sequence[float] = ()  # the learning rates of these steps


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
    top1: float | None  # of the images as they were trained on, per cent; None if they are mixed


@dataclass(eq=False)
class Engine:
    """Trains a network. Every process has its own engine, and all apply the same updates.

    An update depends only on the seed, its number and the state. So training that resumes from
    :meth:`state`, after any update, gives the same bits as one that never stopped (on one CPU,
    with the same number of threads and processes).
    """

    network: nn.Module  # [B, C, S, S] -> [B, classes]; trained in place, moved to the device
    settings: TrainSettings
    processes: ProcessGroup
    _: KW_ONLY
    steps_per_epoch: int
    teacher: Teacher | None = None
    class_weights: Tensor | None = None  # [classes], of the loss; None for equal ones
    classes: int | None = None  # how many there are, where balanced accuracy is measured

    def __post_init__(self) -> None:
        settings = self.settings
        check_finite(self.network.state_dict(), what="the weights to start from")
        self._device = self.processes.device
        self.network.to(self._device)
        use_fast_convolutions(self.network, self._device)
        if settings.grad_checkpointing:
            recompute_blocks(self.network)
        if settings.sync_bn:
            self.processes.share_norms(self.network)
        if self.class_weights is not None:
            self.class_weights = self.class_weights.to(self._device)
        if self.teacher is not None:
            self.teacher.to(self._device)
            switch = getattr(self.network, "set_distilled_training", None)
            if switch is not None:
                switch(True)  # training gives the outputs of both heads
        self._ema = ModelEmaV3(self.network, decay=settings.ema) if settings.ema else None
        self._optimizer = _optimizer(self.network, settings, self._device)
        self.plan(settings.epochs)
        self._soft = SoftTargetCrossEntropy()
        smoothing = settings.label_smoothing
        self._hard = LabelSmoothingCrossEntropy(smoothing) if smoothing else nn.CrossEntropyLoss()
        if settings.compile:
            self.network.compile()
        self._wrapped = self.processes.wrap(self.network)
        self._hits = torch.zeros((), device=self._device)
        # Compiled networks have their own graphs, processes wait for each other, and a graph keeps
        # the memory of a step, which recomputing is to spare.
        captured = self.processes.world == 1 and not (
            settings.compile or settings.grad_checkpointing
        )
        own: Any = proxy(self)  # a cycle would keep the memory until it is collected
        self._step = StepGraph(
            lambda *batch: own._take_step(*batch),
            self.network,
            self._optimizer,
            steps=settings.epochs * self.steps_per_epoch if captured else 0,
            device=self._device,
        )
        self._tokens: Tokens | None = None

    def close(self) -> None:
        """Give memory back that only further steps would need."""
        self._step.close()

    @property
    def average(self) -> nn.Module | None:
        """Moving average of the weights, as a network in evaluation mode; None without one."""
        return None if self._ema is None else self._ema.module

    def plan(self, epochs: int, *, updates: int = 0) -> None:
        """Schedule the learning rate over so many epochs, of which some updates are done.

        The warm-up takes at most a fifth of them, unless it takes more of the settings' epochs.
        """
        settings = self.settings
        longest = max(settings.warmup_epochs * epochs / settings.epochs, epochs // WARMUP_SHARE)
        self._schedule, _ = create_scheduler_v2(
            self._optimizer,
            num_epochs=epochs,
            warmup_epochs=min(settings.warmup_epochs, int(longest)),
            warmup_lr=settings.warmup_lr,
            min_lr=settings.min_lr,
            step_on_epochs=False,
            updates_per_epoch=self.steps_per_epoch,
        )
        if updates:
            self._schedule.step_update(updates)

    @property
    def _networks(self) -> list[nn.Module]:
        return [self.network] if self.average is None else [self.network, self.average]

    def use_tokens(self, tokens: Tokens) -> None:
        """Re-tokenize the network and its average; weights and optimiser state are kept."""
        if tokens != self._tokens:
            self._tokens = tokens
            self._step.forget()
        for network in self._networks:
            retokenize(network, tokens)

    def train(
        self,
        epoch: int,
        batches: Batches,
        *,
        start: EpochPart | None = None,
        keeper: Keeper | None = None,
        progress: Callable[[Step], None] | None = None,
    ) -> EpochResult:
        """Train for one epoch: about three forward passes per image, and one of the teacher.

        Args:
            epoch: Its number, from 0.
            batches: This process's share, on the CPU: images ``[b, C, S, S]``, and labels ``[b]``
                int64 or soft targets ``[b, classes]``.
            start: The part of the epoch that is done; ``batches`` are those after it.
            keeper: Stores the part that is done, where losses are read.
            progress: Called whenever losses are read.

        Raises:
            ValueError: If a loss or a weight is NaN or infinite, or a compilation fails.
            MemoryError: If memory runs out.
        """
        steps, processes = self.steps_per_epoch, self.processes
        start = start or EpochPart()
        checked = start.updates
        unread = UnreadLosses(self._device, processes=processes.world)
        losses = torch.zeros(steps)
        losses[:checked] = start.losses
        before = start.sums.get(_HITS, 0.0) if processes.first else 0.0
        self._hits.fill_(before)
        mixed, rate, rates = False, 0.0, list[float]()
        trained, began = 0, time.monotonic()
        self.network.train()
        devices = [self._device] if self._device.type == "cuda" else []
        passes = steps * self.settings.epochs
        numbers = arithmetic(self._device, self.settings.precision, passes=passes)
        with torch.random.fork_rng(devices), numbers, self._step.running():
            for step, (images, targets) in enumerate(batches, checked):
                rate = max(group["lr"] for group in self._optimizer.param_groups)
                rates.append(rate)
                with self._explained(epoch, step):
                    due = unread.add(self._update(images, targets, epoch * steps + step))
                trained += len(images) * processes.world
                mixed = targets.is_floating_point()
                if not (due or step + 1 == steps):
                    continue
                wanted = keeper is not None and keeper.due()
                means, keep = self._read(unread.take(), epoch, checked, wanted)
                losses[checked : step + 1] = means
                checked = step + 1
                seconds = time.monotonic() - began
                if progress is not None:
                    values, mean = tuple(means.tolist()), float(means.mean())
                    speed = trained / seconds
                    progress(Step(epoch, checked, steps, mean, speed, values, tuple(rates)))
                rates.clear()
                if keep and keeper is not None and checked < steps:
                    self._check_weights(epoch, checked)
                    sums = {_HITS: float(processes.sum(self._hits))}
                    keeper.keep(EpochPart(losses[:checked], start.seconds + seconds, sums))
        if processes.world > 1:
            for network in self._networks:  # their running statistics
                distribute_bn(network, processes.world, reduce=True)
        # After the last step, no loss would show it. It also waits for the steps that are timed.
        self._check_weights(epoch, steps)
        mean, speed = float(losses.mean()), trained / (time.monotonic() - began)
        images_seen = start.updates * self.settings.batch_size + trained
        top1 = 100 * float(processes.sum(self._hits)) / images_seen
        return EpochResult(mean, speed, rate, None if mixed else top1)

    def validate(self, batches: Batches) -> tuple[Accuracy, Accuracy | None]:
        """Evaluate the network and its average, each process on its share of the images."""
        own, *average = evaluate(
            self._networks,
            batches,
            self.processes,
            precision=self.settings.precision,
            classes=self.classes,
        )
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

    def load_state(self, state: EngineState, *, updates: int) -> None:
        """Resume from the :meth:`state` after so many updates."""
        state.load(self.network, self.average)
        load_optimizer(self._optimizer, state.moments, state.numbers)
        self._step.forget()
        self._schedule.step_update(updates)

    def _update(self, images: Tensor, targets: Tensor, update: int) -> Tensor:
        """Take one optimiser step; returns the loss of this process's share."""
        # Seeded by number: no other draw can change dropout and drop-path.
        own = seed_for(self.settings.seed, f"dropout {self.processes.rank}", update)
        seed_generators(own, self._device)
        images = fast_layout(images.to(self._device, non_blocking=True))
        loss = self._step(images, targets.to(self._device, non_blocking=True))
        self._schedule.step_update(update + 1)
        return loss

    def _take_step(self, images: Tensor, targets: Tensor) -> Tensor:
        """Change the weights, and their average, by a batch; returns its loss."""
        settings = self.settings
        total = torch.zeros((), device=self._device)
        parts = list(zip(*(x.chunk(settings.accumulate) for x in (images, targets)), strict=True))
        for number, (inputs, labels) in enumerate(parts, 1):
            # Gradients are averaged over processes once, with the last part.
            last = number == len(parts)
            with nullcontext() if last else self.processes.no_sync(self._wrapped):
                loss = self._loss(inputs, labels) * (len(inputs) / len(images))
                loss.backward()
            total += loss.detach()
        if settings.clip:
            nn.utils.clip_grad_norm_(self.network.parameters(), settings.clip)
        self._optimizer.step()
        self._optimizer.zero_grad()
        if self._ema is not None:
            self._ema.update(self.network)
        return total

    def _loss(self, images: Tensor, targets: Tensor) -> Tensor:
        """Mean loss of some images: classification and distillation, weighted."""
        settings = self.settings
        with autocast(self._device, settings.precision):
            outputs: Outputs = self._wrapped(images)
            teacher_logits = None if self.teacher is None else self.teacher(images)
        logits = outputs[0] if isinstance(outputs, tuple) else outputs
        criterion = self._soft
        if not targets.is_floating_point():
            criterion = self._hard
            self._hits += (logits.detach().argmax(1) == targets).sum()
        if self.class_weights is not None:
            criterion = self._weighted
        loss: Tensor = criterion(logits.float(), targets)
        if teacher_logits is None:
            return loss
        distilled = distillation_loss(
            outputs, teacher_logits, kind=settings.distillation, temperature=settings.temperature
        )
        share = settings.distillation_weight
        return (1 - share) * loss + share * distilled

    def _weighted(self, logits: Tensor, targets: Tensor) -> Tensor:
        smoothing = 0.0 if targets.is_floating_point() else self.settings.label_smoothing
        weights = cast("Tensor", self.class_weights)
        return weighted_loss(logits, targets, weights, label_smoothing=smoothing)

    def _read(self, losses: Tensor, epoch: int, first: int, wanted: bool) -> tuple[Tensor, bool]:
        """The losses of some steps averaged over the processes; refuses NaN and inf in each.

        Also whether any process wants the part of the epoch to be stored.
        """
        means, keep = self.processes.mean_and_any(losses, wanted)
        for step, loss in enumerate(means.tolist(), first + 1):
            if not math.isfinite(loss):
                raise Diverged(
                    f"the loss became {loss} in epoch {epoch + 1}, step {step}; {self._advice}"
                )
        return means, keep

    def _check_weights(self, epoch: int, step: int) -> None:
        """Refuse NaN and infinity; it waits for the device."""
        finite = torch.stack([p.detach().isfinite().all() for p in self.network.parameters()])
        if not bool(finite.all()):
            raise Diverged(
                f"weights became infinite or NaN in epoch {epoch + 1}, step {step}; {self._advice}"
            )

    @contextmanager
    def _explained(self, epoch: int, step: int) -> Iterator[None]:
        """Say what helps where an update fails for lack of memory or of a compiler."""
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            if self.settings.compile and type(error).__module__.startswith(_COMPILERS):
                # Advice follows an empty line.
                message = " ".join(str(error).partition("\n\n")[0].split())
                raise ValueError(
                    f"torch.compile failed ({one_line(message)}); leave out --compile"
                ) from error
            if not out_of_memory(error):
                raise
            raise MemoryError(
                f"memory ran out in epoch {epoch + 1}, step {step + 1} "
                f"({first_line(error)}); {_KEPT}; use grad_checkpointing, a larger "
                "accumulate or a smaller batch_size"
            ) from error

    @property
    def _advice(self) -> str:
        rate, clip = self.settings.learning_rate, tighter_clip(self.settings.clip)
        return f"{_KEPT}; use a lower learning rate than {rate:g}, a longer warm-up or {clip}"


def _optimizer(
    network: nn.Module, settings: TrainSettings, device: torch.device
) -> torch.optim.Optimizer:
    """The optimiser of the settings, in one kernel where PyTorch has one for the device.

    Biases, norms and parameters that the network names get no weight decay.
    """
    name = settings.optimizer
    if name not in list_optimizers():
        raise ValueError(unknown("optimizer", name, list_optimizers()))
    base = "adamw" if name == "muon" else name  # timm's Muon is slow on many CPUs
    info = get_optimizer_info(base)
    if info.second_order:
        raise ValueError(f"optimizer={name} needs second derivatives, which no training computes")
    one_kernel = device.type in _FUSED and info.opt_class in (optim.AdamW, optim.Adam, optim.SGD)
    try:
        optimizer: torch.optim.Optimizer = create_optimizer_v2(
            network,
            opt=base,
            **({"fused": True} if one_kernel else {}),
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            layer_decay=None if settings.layer_decay == 1 else settings.layer_decay,
        )
    except (AssertionError, ImportError) as error:  # timm's for a library or device
        raise ValueError(f"optimizer={name}: {first_line(error)}") from error
    if optimizer.state_dict().keys() - {"state", "param_groups"}:
        raise ValueError(f"optimizer={name} has a state that no checkpoint keeps; take another")
    return Muon(optimizer.param_groups) if name == "muon" else optimizer

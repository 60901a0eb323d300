"""The training of a classifier by a recipe."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from timm.loss import LabelSmoothingCrossEntropy
from torch import Tensor, nn
from torch.nn import functional as F

from asvit.models.blocks import recompute_blocks
from asvit.models.retokenization import Tokens, retokenize, token_stages
from asvit.training.distillation import Teacher, distillation_loss
from asvit.training.distributed import ProcessGroup
from asvit.training.loaders import Loader
from asvit.training.metrics import Accuracy, EpochRow, evaluate
from asvit.training.optimizers import Schedule, make_optimizer, parameter_groups
from asvit.training.precision import fast_layout, training_precision
from asvit.training.recipes import WARMUP_SHARE
from asvit.training.settings import TOP, TrainSettings
from asvit.training.trainer import EpochResult, Task

_HITS = "hits"  # images of an update that were classified rightly


class Classification(Task[EpochRow]):
    """Trains a network ``[B, C, S, S] -> [B, classes]``, or two of those, by its settings.

    Batches are images ``[b, C, S, S]``, and labels ``[b]`` int64 or soft targets ``[b, classes]``;
    of a validation every image once. The network is prepared for training in place.
    """

    def __init__(
        self,
        network: nn.Module,
        settings: TrainSettings,
        processes: ProcessGroup,
        train: Loader,
        validation: Loader,
        *,
        classes: int,
        teacher: Teacher | None = None,
    ) -> None:
        s = settings
        self.network, self.settings, self.processes = network, s, processes
        self.train, self.validation, self.classes = train, validation, classes
        self.steps, self.batch_size = len(train), s.batch_size
        self.learning_rate, self.seed, self.clip = s.learning_rate, s.seed, s.clip
        self.precision = training_precision(s.precision, processes.device, network)
        self.captured = not s.grad_checkpointing  # a graph would keep the memory of a step
        if s.grad_checkpointing:
            recompute_blocks(network)
        self.teacher = None if teacher is None else teacher.to(processes.device)
        switch: Any = getattr(network, "set_distilled_training", None)
        if teacher is not None and switch is not None:
            switch(True)  # training gives the outputs of both heads
        self._smooth = LabelSmoothingCrossEntropy(s.label_smoothing)
        self._token_stages = token_stages(network) if s.staged else ()
        self._tokens: Tokens | None = None

    def optimizer(self, device: torch.device) -> torch.optim.Optimizer:
        s = self.settings
        groups = parameter_groups(self.network, s.weight_decay)
        return make_optimizer(s.optimizer, groups, learning_rate=s.learning_rate, device=device)

    def schedule(self, epochs: int) -> Callable[[int], float]:
        """A cosine from the beginning, as timm has it, of which a warm-up takes the place.

        It takes at most a fifth of the epochs, unless it takes more of the settings' epochs.
        """
        s = self.settings
        first, last = s.lowest_rates
        longest = max(s.warmup_epochs * epochs / s.epochs, epochs // WARMUP_SHARE)
        return Schedule(
            s.learning_rate,
            epochs * self.steps,
            min(s.warmup_epochs, int(longest)) * self.steps,
            first=first,
            last=last,
        )

    def batches(self, epoch: int, start: int) -> Iterator[tuple[Tensor, Tensor]]:
        self.train.set_epoch(epoch, start=start)
        device = self.processes.device
        for images, targets in self.train:
            moved = fast_layout(images.to(device, non_blocking=True))
            yield moved, targets.to(device, non_blocking=True)

    def losses(
        self, network: nn.Module, images: Tensor, targets: Tensor
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Classification and distillation alike; with labels the right answers, too."""
        outputs = network(images)
        logits = outputs[0] if isinstance(outputs, tuple) else outputs
        loss, hits = self._criterion(logits.float(), targets), dict[str, Tensor]()
        if not targets.is_floating_point():
            hits[_HITS] = (logits.detach().argmax(1) == targets).sum()
        if self.teacher is not None:
            loss = (loss + distillation_loss(outputs, self.teacher(images))) / 2
        return loss, hits

    def _criterion(self, logits: Tensor, targets: Tensor) -> Tensor:
        smoothing = 0.0 if targets.is_floating_point() else self.settings.label_smoothing
        loss: Tensor = (self._smooth if smoothing else F.cross_entropy)(logits, targets)
        return loss

    def begin(self, epoch: int) -> bool:
        """Re-tokenize the network, if the plan has other tokens for the epoch."""
        tokens = self.tokens(epoch)
        if tokens is None or tokens == self._tokens:
            return False
        self._tokens = tokens
        retokenize(self.network, tokens)
        return True

    def tokens(self, epoch: int) -> Tokens | None:
        """The tokens of an epoch, from 0; None without stages."""
        return self._token_stages[self.settings.plan.stage(epoch)] if self._token_stages else None

    def evaluate(self) -> Accuracy:
        return evaluate(
            self.network,
            self.validation,
            self.processes,
            precision=self.settings.precision,
            classes=None if self.settings.balance == "none" else self.classes,
        )

    def row(self, epoch: int, result: EpochResult, metrics: Accuracy, seconds: float) -> EpochRow:
        tokens, hits = self.tokens(epoch), result.sums.get(_HITS)
        images = self.steps * self.batch_size
        right = None if hits is None else round(hits * self.processes.world)
        return EpochRow(
            epoch=epoch + 1,
            tokens="" if tokens is None else str(tokens),
            learning_rate=result.learning_rate,
            train_loss=result.loss,
            images_per_second=result.images_per_second,
            seconds=seconds,
            train_top1=None if right is None else 100 * right / images,
            **vars(metrics),
        )

    def state(self, row: EpochRow) -> str:
        parts = list[str]()
        if not self.settings.train_on_validation:  # else it says nothing
            parts.append(f"top-1 {row.top1:.2f} %")
            if self.classes > TOP:
                parts.append(f"top-5 {row.top5:.2f} %")
            if row.balanced is not None:
                parts.append(f"balanced {row.balanced:.2f} %")
        if row.tokens:
            parts.append(f"tokens {row.tokens}")
        return "  ".join(parts)

    def close(self) -> None:
        self.train.close()
        self.validation.close()

"""Accuracy of networks on labelled images, and the file of their epochs."""

import json
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asvit.core.codec import Nullable, from_json, to_json
from asvit.core.files import read_text, write_text
from asvit.core.records import MALFORMED, parse_json
from asvit.core.run_files import METRICS_CSV, METRICS_JSONL
from asvit.core.tables import csv_text
from asvit.training.distributed import ProcessGroup
from asvit.training.layout import fast_layout
from asvit.training.precision import arithmetic, autocast
from asvit.training.settings import TOP
from proxies.messages import first_line

Batches = Iterable[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Accuracy:
    """Accuracy of a network on some images."""

    top1: float  # per cent
    top5: float  # share of images whose class is among the :data:`TOP` largest logits, per cent
    loss: float  # mean cross-entropy, nats
    balanced: float | None = None  # mean over classes of their top-1, per cent, if asked for


def logits_of(
    networks: Sequence[nn.Module], batches: Batches, device: torch.device, precision: str = "fp32"
) -> Iterator[tuple[list[Tensor], Tensor]]:
    """The logits ``[B, classes]`` of each network, and the labels, of every batch.

    The networks stay in evaluation mode. They may not be wrapped for distributed training:
    processes may have different numbers of batches.
    """
    for network in networks:
        network.eval()
    for images, labels in batches:
        inputs, targets = (x.to(device, non_blocking=True) for x in (images, labels))
        # Not inference mode: training could not use the tensors that a network caches.
        with torch.no_grad(), arithmetic(device, precision), autocast(device, precision):
            logits = [network(fast_layout(inputs)).float() for network in networks]
        yield logits, targets


def evaluate(
    networks: Sequence[nn.Module],
    batches: Batches,
    processes: ProcessGroup,
    *,
    precision: str = "fp32",
    classes: int | None = None,
) -> list[Accuracy]:
    """The accuracy of each network, in one pass over a process's share of the images.

    With the number of ``classes``, balanced accuracy, too; classes without images do not count.
    """
    device = processes.device
    # Of each network top-1 hits, top-5 hits, summed loss and images.
    sums = torch.zeros(len(networks), 4, dtype=torch.float64, device=device)
    # Images of each class, below them the top-1 hits of each network.
    by_class = torch.zeros(1 + len(networks), classes or 0, dtype=torch.int64, device=device)
    for logits, labels in logits_of(networks, batches, device, precision):
        for place, own in enumerate(logits):
            sums[place] += _hits(own, labels)
            if classes is not None:
                by_class[1 + place].scatter_add_(0, labels, (own.argmax(1) == labels).long())
        if classes is not None:
            by_class[0].scatter_add_(0, labels, torch.ones_like(labels))
    shares: list[Any] = [None] * len(networks)
    if classes is not None:
        counts = processes.sum(by_class).cpu()
        there = counts[0] > 0
        means = (counts[1:, there].double() / counts[0, there]).mean(dim=1)
        shares = (100 * means).tolist()
    return [
        Accuracy(100 * top1 / total, 100 * top5 / total, loss / total, share)
        for (top1, top5, loss, total), share in zip(
            processes.sum(sums).tolist(), shares, strict=True
        )
    ]


def _hits(logits: Tensor, labels: Tensor) -> Tensor:
    """Top-1 hits, top-5 hits, summed loss and number of ``[B]`` labels, as ``[4]``."""
    # Stable, as argmax: of equal logits, frequent in bf16, the first class counts everywhere.
    best = logits.argsort(dim=1, descending=True, stable=True)[:, :TOP]
    hits = best == labels[:, None]
    loss = F.cross_entropy(logits, labels, reduction="sum")
    numbers = hits[:, 0].sum(), hits.sum(), loss, loss.new_tensor(len(labels))
    return torch.stack([number.double() for number in numbers])


@dataclass(frozen=True)
class EpochRow:
    """The metrics of one epoch; those of the average of the weights are None without one."""

    epoch: int  # from 1
    tokens: str  # stride and dilation of the stem, as "(16,5)"; empty without re-tokenization
    learning_rate: float  # of its last update
    train_loss: float  # mean over its steps, nats
    loss: Nullable  # cross-entropy on the validation images, nats
    top1: float  # accuracy on them, per cent
    top5: float
    average_loss: float | None
    average_top1: float | None
    average_top5: float | None
    images_per_second: float  # in training, over all processes
    seconds: float  # wall-clock time, validation included
    train_top1: float | None = None  # on augmented images, per cent; None where they are mixed

    # The same with each class counting alike, where they are balanced; else None.
    balanced: float | None = None
    average_balanced: float | None = None

    @property
    def score(self) -> float:
        """What networks and epochs are compared by: balanced accuracy, or top-1; per cent."""
        return self.top1 if self.balanced is None else self.balanced

    @property
    def average_score(self) -> float | None:
        """The same of the moving average; None without one."""
        return self.average_top1 if self.average_balanced is None else self.average_balanced

    @property
    def best_score(self) -> float:
        """The better of both."""
        return self.score if self.average_score is None else max(self.score, self.average_score)

    @property
    def average_is_better(self) -> bool:
        """Whether the moving average is the better of the two."""
        return self.average_score is not None and self.average_score >= self.score

    @property
    def best_top1(self) -> float:
        """The top-1 accuracy of the better of the two, per cent."""
        better = self.average_top1 if self.average_is_better else None
        return self.top1 if better is None else better


def seconds_of_an_epoch(history: Sequence[EpochRow]) -> float:
    """The mean of the later half of a training's epochs: the first are slower."""
    return statistics.fmean(row.seconds for row in history[-max(1, len(history) // 2) :])


def write_metrics(folder: Path, rows: Sequence[object]) -> None:
    """Write metrics.csv and metrics.jsonl, one row, a dataclass, per epoch."""
    content = [to_json(row) for row in rows]
    table = [[*content[0]], *([*row.values()] for row in content)]
    write_text(folder / METRICS_CSV, csv_text(table))
    lines = (json.dumps(row, allow_nan=False) + "\n" for row in content)
    write_text(folder / METRICS_JSONL, "".join(lines))


def read_metrics(path: Path) -> list[EpochRow]:
    """The rows of metrics.jsonl; none where it is not there."""
    try:
        lines = read_text(path).splitlines()
        return [from_json(parse_json(line), EpochRow) for line in lines]
    except FileNotFoundError:
        return []
    except MALFORMED as error:
        raise ValueError(f"{path} cannot be read: {first_line(error)}") from error

"""Accuracy of networks on labelled images, and the per-epoch metrics files of a training."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asvit.core.codec import Nullable, to_json
from asvit.core.files import write_text
from asvit.core.run_files import METRICS_CSV, METRICS_JSONL, TENSORBOARD
from asvit.core.versions import missing
from asvit.training.distributed import ProcessGroup
from proxies.tables import csv_text

Batches = Iterable[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Accuracy:
    """Accuracy of a network on some images."""

    top1: float  # share of the images whose class has the largest logit, per cent
    top5: float  # share of those whose class is among the five largest, per cent
    loss: float  # mean cross-entropy, nats
    images: int


def evaluate(
    networks: Sequence[nn.Module],
    batches: Batches,
    processes: ProcessGroup,
    *,
    precision: str = "fp32",
) -> list[Accuracy]:
    """The accuracy of each network, in one pass over the images; they stay in evaluation mode.

    Every process must call this with its share of the images. The networks, each
    ``[B, 3, S, S] -> [B, classes]``, may not be wrapped for distributed training: processes may
    have different numbers of batches.
    """
    device = processes.device
    seen = 0
    # [networks, 3]: top-1 hits, top-5 hits, summed loss
    sums = torch.zeros(len(networks), 3, dtype=torch.float64, device=device)
    for network in networks:
        network.eval()
    # Not inference mode: training could not use the tensors that a network caches.
    with torch.no_grad(), autocast(device, precision):
        for images, labels in batches:
            inputs, targets = (x.to(device, non_blocking=True) for x in (images, labels))
            for network, total in zip(networks, sums, strict=True):
                total += _hits(network(inputs).float(), targets)
            seen += len(targets)
    images_seen = int(processes.sum(torch.tensor(seen, device=device)))
    if not images_seen:
        raise ValueError("there are no images to validate on; give some")
    return [
        Accuracy(
            100 * top1 / images_seen, 100 * top5 / images_seen, loss / images_seen, images_seen
        )
        for top1, top5, loss in processes.sum(sums).tolist()
    ]


def _hits(logits: Tensor, labels: Tensor) -> Tensor:
    """Top-1 hits, top-5 hits and summed loss of ``[B]`` labels, as ``[3]``."""
    best = logits.topk(min(5, logits.shape[1]), dim=1).indices
    hits = best == labels[:, None]
    loss = F.cross_entropy(logits, labels, reduction="sum")
    return torch.stack([hits[:, 0].sum().double(), hits.sum().double(), loss.double()])


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """An autocast context: bfloat16 for precision ``"bf16"``, disabled otherwise."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


@dataclass(frozen=True)
class EpochRow:
    """The metrics of one epoch; those of the average of the weights are None without one."""

    epoch: int  # from 1
    tokens: str  # stride and dilation of the stem, as "16,5"; empty without re-tokenization
    learning_rate: float  # of its last update
    train_loss: Nullable  # mean over its steps, nats; not finite in a failed training
    loss: Nullable  # cross-entropy on the validation images, nats
    top1: float  # accuracy on them, per cent
    top5: float
    average_loss: float | None
    average_top1: float | None
    average_top5: float | None
    images_per_second: float  # in training, over all processes
    seconds: float  # wall-clock time, validation included
    train_top1: float | None = None  # on augmented images, per cent; None where they are mixed

    @property
    def best_top1(self) -> float:
        """The better of the network's accuracy and that of its moving average, per cent."""
        return self.top1 if self.average_top1 is None else max(self.top1, self.average_top1)

    @property
    def average_is_better(self) -> bool:
        """Whether the moving average is the better of the two."""
        return self.average_top1 is not None and self.average_top1 >= self.top1


COLUMNS = tuple(field.name for field in fields(EpochRow))


def write_metrics(folder: Path, rows: Sequence[EpochRow]) -> None:
    """Write metrics.csv and metrics.jsonl, one row per epoch.

    Rewriting the whole files keeps a resumed training from listing an epoch twice.
    """
    content = [to_json(row) for row in rows]
    table = [COLUMNS, *([row[name] for name in COLUMNS] for row in content)]
    write_text(folder / METRICS_CSV, csv_text(table))
    lines = (json.dumps(row, allow_nan=False) + "\n" for row in content)
    write_text(folder / METRICS_JSONL, "".join(lines))


class TensorBoard:
    """Writes metrics for TensorBoard, into a subfolder of the run folder.

    Event files of earlier sessions are replaced, so that no epoch appears twice.

    Raises:
        ImportError: If TensorBoard is not installed.
    """

    def __init__(self, folder: Path, rows: Sequence[EpochRow]) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise missing("--tensorboard", "tensorboard", "train") from error
        where = folder / TENSORBOARD
        for old in where.glob("events.out.tfevents.*"):
            old.unlink()
        self._writer: Any = SummaryWriter(where)
        for row in rows:
            self.add(row)

    def add(self, row: EpochRow) -> None:
        """Write an epoch and flush it."""
        for name, value in asdict(row).items():
            if isinstance(value, float):
                self._writer.add_scalar(name, value, row.epoch)
        self._writer.flush()

    def close(self) -> None:
        """Close the event file."""
        self._writer.close()

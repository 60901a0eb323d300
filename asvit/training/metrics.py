"""Accuracy of networks on labelled images, their predictions, and the files of both."""

import base64
import io
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asvit.core.codec import Nullable, from_json, to_json
from asvit.core.files import read_text, write_text
from asvit.core.records import MALFORMED, parse_json
from asvit.core.run_files import METRICS_CSV, METRICS_JSONL
from asvit.data import LabelledImages
from asvit.data.kinds import Picture
from asvit.data.preparation import shown_channels, thumbnail_of
from asvit.training.distributed import ProcessGroup
from asvit.training.settings import TOP
from asvit.training.short import fast_layout
from proxies.messages import first_line
from proxies.tables import csv_text

MOST_PICTURES = 24  # of the worst mistakes
SIDE = 96  # pixels of the longer side of a picture

Batches = Iterable[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Accuracy:
    """Accuracy of a network on some images."""

    top1: float  # share of the images whose class has the largest logit, per cent
    top5: float  # share of those whose class is among the :data:`TOP` largest, per cent
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
    ``[B, C, S, S] -> [B, classes]``, may not be wrapped for distributed training: processes may
    have different numbers of batches.
    """
    device = processes.device
    count = 0
    # [networks, 3]: top-1 hits, top-5 hits, summed loss
    sums = torch.zeros(len(networks), 3, dtype=torch.float64, device=device)
    for network in networks:
        network.eval()
    # Not inference mode: training could not use the tensors that a network caches.
    with torch.no_grad(), autocast(device, precision):
        for images, labels in batches:
            inputs, targets = (x.to(device, non_blocking=True) for x in (images, labels))
            inputs = fast_layout(inputs)
            for network, total in zip(networks, sums, strict=True):
                total += _hits(network(inputs).float(), targets)
            count += len(targets)
    images_seen = int(processes.sum(torch.tensor(count, device=device)))
    return [
        Accuracy(
            100 * top1 / images_seen, 100 * top5 / images_seen, loss / images_seen, images_seen
        )
        for top1, top5, loss in processes.sum(sums).tolist()
    ]


def _hits(logits: Tensor, labels: Tensor) -> Tensor:
    """Top-1 hits, top-5 hits and summed loss of ``[B]`` labels, as ``[3]``."""
    best = logits.topk(min(TOP, logits.shape[1]), dim=1).indices
    hits = best == labels[:, None]
    loss = F.cross_entropy(logits, labels, reduction="sum")
    return torch.stack([hits[:, 0].sum().double(), hits.sum().double(), loss.double()])


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """An autocast context: bfloat16 for precision ``"bf16"``, disabled otherwise."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


@dataclass(frozen=True)
class Confusion:
    """Number of images of class ``label`` classified as ``predicted``, maybe the same."""

    label: str
    predicted: str
    images: int


@dataclass(frozen=True)
class Mistake:
    """A misclassified image."""

    name: str
    label: str
    predicted: str
    confidence: Nullable  # probability of the predicted class, per cent
    loss: Nullable  # cross-entropy, nats
    picture: str  # JPEG, base64


@dataclass(frozen=True)
class Predictions:
    """Predicted classes: every pair of true and predicted class, and some of the pictures."""

    classes: tuple[str, ...]
    confusion: tuple[Confusion, ...]
    mistakes: tuple[Mistake, ...]  # the highest loss first, at most MOST_PICTURES
    right: tuple[Mistake, ...] = ()  # of a design: some that are not mistakes
    shown: str = ""  # what the pictures show of images that are none, in words

    def write(self, path: Path) -> None:
        """Write the file as a whole or not at all."""
        write_text(path, json.dumps(to_json(self), allow_nan=False) + "\n")


def read_predictions(path: Path) -> Predictions | None:
    """Read the file; None if there is none: it has pictures, which may not be for others."""
    try:
        return from_json(parse_json(read_text(path)), Predictions)
    except FileNotFoundError:
        return None
    except MALFORMED as error:
        raise ValueError(f"{path} cannot be read: {first_line(error)}") from error


def predict(
    network: nn.Module,
    batches: Batches,
    images: LabelledImages,
    processes: ProcessGroup,
    *,
    precision: str = "fp32",
) -> Predictions:
    """Predict the classes of ``images``; the network stays in evaluation mode.

    Every process must call this with its share of the batches, dealt in turn as by
    :func:`asvit.training.images.loaders.validation_loader`.
    """
    network.eval()
    parts = [torch.empty(0, 4, dtype=torch.float64)]  # label, prediction, its probability, loss
    with torch.no_grad(), autocast(processes.device, precision):
        for inputs, labels in batches:
            log: Tensor = network(fast_layout(inputs.to(processes.device))).float().log_softmax(1)
            best, loss = log.max(1), -log.gather(1, labels.to(log.device)[:, None])[:, 0]
            columns = [labels, best.indices, best.values.exp(), loss]
            parts.append(torch.stack([column.cpu().double() for column in columns], 1))
    shares = processes.gather(torch.cat(parts).numpy())
    rows = np.empty((sum(map(len, shares)), 4))
    for rank, share in enumerate(shares):
        rows[rank :: processes.world] = share
    names, pairs = images.classes, rows[:, :2].astype(int).tolist()
    mistakes: list[Mistake] = []
    for index in np.argsort(-rows[:, 3], kind="stable").tolist() if processes.first else ():
        label, predicted = pairs[index]
        if label == predicted or len(mistakes) == MOST_PICTURES:
            continue
        try:
            picture = images.picture(index)
        except ValueError:  # unreadable, and replaced in its batch
            continue
        mistakes.append(
            Mistake(
                name=images.name(index),
                label=names[label],
                predicted=names[predicted],
                confidence=round(100 * float(rows[index, 2]), 2),
                loss=round(float(rows[index, 3]), 4),
                picture=thumbnail(picture),
            )
        )
    confusion = (
        Confusion(names[label], names[predicted], count)
        for (label, predicted), count in sorted(Counter(map(tuple, pairs)).items())
    )
    shown = shown_channels(images.kind)
    return Predictions(names, tuple(confusion), tuple(mistakes), shown=shown)


def thumbnail(picture: Picture) -> str:
    """A small JPEG of an image, in base64."""
    thumbnail_of(picture, SIDE).save(jpeg := io.BytesIO(), "JPEG")
    return base64.b64encode(jpeg.getvalue()).decode()


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


def write_metrics(folder: Path, rows: Sequence[object]) -> None:
    """Write metrics.csv and metrics.jsonl, one row, a dataclass, per epoch.

    Rewriting the whole files keeps a resumed training from listing an epoch twice.
    """
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

"""How good networks are on labelled images: accuracy, epochs, answers and the worst mistakes."""

import base64
import io
import json
import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asvit.core.answers import Answer, Confusion, confusions_of
from asvit.core.codec import MALFORMED, Nullable, from_json, parse_json, to_json
from asvit.core.files import read_text, write_text
from asvit.core.run_files import METRICS
from asvit.core.tables import csv_text, read_table
from asvit.data import LabelledImages
from asvit.data.kinds import Picture
from asvit.data.preparation import thumbnail_of
from asvit.training.distributed import ProcessGroup
from asvit.training.precision import arithmetic, autocast, fast_layout
from asvit.training.settings import TOP
from proxies.messages import first_line

T = TypeVar("T")
Batches = Iterable[tuple[Tensor, Tensor]]

MOST_PICTURES = 24  # of the worst mistakes
SIDE = 96  # pixels of the longer side of a picture


@dataclass(frozen=True)
class Accuracy:
    """Accuracy of a network on some images."""

    top1: float  # per cent
    top5: float  # share of images whose class is among the :data:`TOP` largest logits, per cent
    loss: float  # mean cross-entropy, nats
    balanced: float | None = None  # mean over classes of their top-1, per cent, if asked for


def logits_of(
    network: nn.Module, batches: Batches, device: torch.device, precision: str = "fp32"
) -> Iterator[tuple[Tensor, Tensor]]:
    """The logits ``[B, classes]``, and the labels, of every batch.

    The network stays in evaluation mode. It may not be wrapped for distributed training:
    processes may have different numbers of batches.
    """
    network.eval()
    for images, labels in batches:
        inputs, targets = (x.to(device, non_blocking=True) for x in (images, labels))
        # Not inference mode: training could not use the tensors that a network caches.
        with torch.no_grad(), arithmetic(device, precision), autocast(device, precision):
            logits = network(fast_layout(inputs)).float()
        yield logits, targets


def evaluate(
    network: nn.Module,
    batches: Batches,
    processes: ProcessGroup,
    *,
    precision: str = "fp32",
    classes: int | None = None,
) -> Accuracy:
    """The accuracy of a network on the images of all processes, each with its share of them.

    With the number of ``classes``, balanced accuracy, too; classes without images do not count.
    """
    device = processes.device
    sums = torch.zeros(4, dtype=torch.float64, device=device)
    by_class = torch.zeros(2, classes or 0, dtype=torch.int64, device=device)  # hits, images
    for logits, labels in logits_of(network, batches, device, precision):
        sums += _hits(logits, labels)
        if classes is not None:
            hits = (logits.argmax(1) == labels).long()
            by_class.scatter_add_(1, labels.expand(2, -1), torch.stack([hits, hits * 0 + 1]))
    top1, top5, loss, total = processes.sum(sums).tolist()
    share = None
    if classes is not None:
        right, there = processes.sum(by_class).cpu().double()
        share = 100 * float((right / there)[there > 0].mean())
    return Accuracy(100 * top1 / total, 100 * top5 / total, loss / total, share)


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
    """The metrics of one epoch."""

    epoch: int  # from 1
    tokens: str  # stride and dilation of the stem, as "(16,5)"; empty without re-tokenization
    learning_rate: float  # of its last update
    train_loss: float  # mean over its steps, nats
    loss: Nullable  # cross-entropy on the validation images, nats
    top1: float  # accuracy on them, per cent
    top5: float
    images_per_second: float  # in training, over all processes
    seconds: float  # wall-clock time, validation included
    train_top1: float | None = None  # on augmented images, per cent; None where they are mixed
    balanced: float | None = None  # top-1 with each class counting alike, where they are balanced

    @property
    def score(self) -> float:
        """What networks and epochs are compared by: balanced accuracy, or top-1; per cent."""
        return self.top1 if self.balanced is None else self.balanced


def seconds_of_an_epoch(history: Sequence[EpochRow]) -> float:
    """The mean of the later half of a training's epochs: the first are slower."""
    return statistics.fmean(row.seconds for row in history[-max(1, len(history) // 2) :])


def write_metrics(folder: Path, rows: Sequence[object]) -> None:
    """Write metrics.csv, one row, a dataclass, per epoch."""
    content = [to_json(row) for row in rows]
    table = [[*content[0]], *([*row.values()] for row in content)]
    write_text(folder / METRICS, csv_text(table))


def read_metrics(path: Path) -> list[EpochRow]:
    """The rows of metrics.csv of a classifier; none where it is not there."""

    def row(header: list[str], cells: list[str]) -> EpochRow:
        epoch, tokens, *others = cells
        numbers = [float(cell) if cell else None for cell in others]
        return from_json(dict(zip(header, [int(epoch), tokens, *numbers], strict=True)), EpochRow)

    columns = [field.name for field in fields(EpochRow)]
    return _read(path, lambda text: read_table(text, "epochs", columns, (), row)[1], [])


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
    """Predicted classes: pairs of true and predicted class, and some of the pictures."""

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
    return _read(path, lambda text: from_json(parse_json(text), Predictions), None)


def _read(path: Path, parse: Callable[[str], T], none: T) -> T:
    """What is in a file; ``none`` where it is not there."""
    try:
        return parse(read_text(path))
    except FileNotFoundError:
        return none
    except MALFORMED as error:
        raise ValueError(f"{path} cannot be read: {first_line(error)}") from error


def predict(
    network: nn.Module,
    batches: Batches,
    images: LabelledImages,
    processes: ProcessGroup,
    *,
    precision: str = "fp32",
) -> list[Answer]:
    """Predict the classes of ``images``; the network stays in evaluation mode.

    Every process calls this with its share of the batches, dealt in turn as by
    :func:`asvit.training.loaders.validation_loader`. The first one gets the answers.
    """
    device = processes.device
    # Label, prediction, its probability and loss. They stay on the device: reading waits for it.
    parts = [torch.empty(0, 4, dtype=torch.float64, device=device)]
    for logits, labels in logits_of(network, batches, device, precision):
        log, best = logits.log_softmax(1), logits.argmax(1)
        loss = -log.gather(1, labels[:, None])[:, 0]
        columns = labels, best, log.max(1).values.exp(), loss
        parts.append(torch.stack([column.double() for column in columns], 1))
    shares = processes.gather(torch.cat(parts).cpu().numpy())
    rows = np.empty((sum(map(len, shares)), 4))
    for rank, share in enumerate(shares):
        rows[rank :: processes.world] = share
    names = images.classes
    return [
        Answer(
            images.name(index),
            names[int(label)],
            names[int(predicted)],
            min(probability, 1.0),
            loss,
            images.digest(index),
        )
        for index, (label, predicted, probability, loss) in enumerate(rows.tolist())
        if processes.first
    ]


def predictions_of(
    classes: Sequence[str],
    answers: Sequence[Answer],
    picture: Callable[[int], Picture],
    *,
    right: int = 0,
    shown: str = "",
) -> Predictions:
    """Confusions, the worst mistakes with their pictures, and so many right answers with theirs.

    The worst have the highest loss, or where that is not known the highest probability.
    ``picture`` reads the picture of an answer; those that raise ValueError are left out.
    """

    def badness(place: int) -> float:
        answer = answers[place]
        return answer.probability if math.isnan(answer.loss) else answer.loss

    def some(wanted: bool, most: int) -> tuple[Mistake, ...]:
        mistakes = list[Mistake]()
        for place in order:
            if answers[place].right == wanted and len(mistakes) < most:
                with suppress(ValueError):
                    mistakes.append(_mistake(answers[place], picture(place)))
        return tuple(mistakes)

    order = sorted(range(len(answers)), key=badness, reverse=True)
    confusion = confusions_of((answer.label, answer.predicted) for answer in answers)
    return Predictions(
        tuple(classes), confusion, some(False, MOST_PICTURES), some(True, right), shown
    )


def _mistake(answer: Answer, picture: Picture) -> Mistake:
    thumbnail_of(picture, SIDE).save(jpeg := io.BytesIO(), "JPEG")
    return Mistake(
        name=answer.image,
        label=answer.label,
        predicted=answer.predicted,
        confidence=round(100 * answer.probability, 2),
        loss=round(answer.loss, 4),
        picture=base64.b64encode(jpeg.getvalue()).decode(),
    )

"""What a network takes labelled images for: its answers, what it confuses, its worst mistakes."""

import base64
import io
import json
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from asvit.core.answers import Answer, Confusion, confusions_of
from asvit.core.codec import Nullable, from_json, to_json
from asvit.core.files import read_text, write_text
from asvit.core.records import MALFORMED, parse_json
from asvit.data import LabelledImages
from asvit.data.kinds import Picture
from asvit.data.preparation import thumbnail_of
from asvit.training.distributed import ProcessGroup
from asvit.training.metrics import Batches, logits_of
from proxies.messages import first_line

MOST_PICTURES = 24  # of the worst mistakes
SIDE = 96  # pixels of the longer side of a picture


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
) -> list[Answer]:
    """Predict the classes of ``images``; the network stays in evaluation mode.

    Every process calls this with its share of the batches, dealt in turn as by
    :func:`asvit.training.loaders.validation_loader`. The first one gets the answers.
    """
    device = processes.device
    # Label, prediction, its probability and loss. They stay on the device: reading waits for it.
    parts = [torch.empty(0, 4, dtype=torch.float64, device=device)]
    for (logits,), labels in logits_of([network], batches, device, precision):
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
                with suppress(ValueError):  # unreadable, and replaced in its batch
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

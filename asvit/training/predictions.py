"""What a trained network takes the validation images for, kept so that reports need no images."""

import base64
import io
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from asvit.core.codec import Nullable, from_json, to_json
from asvit.core.files import read_text, write_text
from asvit.core.records import MALFORMED, parse_json
from asvit.data import LabelledImages
from asvit.training.distributed import ProcessGroup
from asvit.training.metrics import Batches, autocast
from proxies.messages import first_line

MOST_PICTURES = 24  # of the worst mistakes
SIDE = 96  # pixels of the longer side of a picture


@dataclass(frozen=True)
class Confusion:
    """How many images of a class were taken for a class, which may be their own."""

    label: str
    predicted: str
    images: int


@dataclass(frozen=True)
class Mistake:
    """An image that was taken for one of another class."""

    name: str
    label: str
    predicted: str
    confidence: Nullable  # probability of the class that it was taken for, per cent
    loss: Nullable  # cross-entropy, nats
    picture: str  # JPEG, base64


@dataclass(frozen=True)
class Predictions:
    """What images were taken for: every pair of classes that occurs, and the worst mistakes."""

    classes: tuple[str, ...]
    confusion: tuple[Confusion, ...]
    mistakes: tuple[Mistake, ...]  # the highest loss first, at most MOST_PICTURES

    def write(self, path: Path) -> None:
        """Write the file as a whole or not at all."""
        write_text(path, json.dumps(to_json(self), allow_nan=False) + "\n")


def read_predictions(path: Path) -> Predictions | None:
    """Read the file; None if there is none, as in the folders of earlier versions.

    Raises:
        ValueError: If it is not what it should be.
    """
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
    """What ``network`` takes ``images`` for; it stays in evaluation mode.

    Every process must call this with its share of the batches, dealt in turn as by
    :func:`asvit.training.images.loaders.validation_loader`.
    """
    network.eval()
    seen = [torch.empty(0, 4, dtype=torch.float64)]  # label, prediction, its probability, loss
    with torch.no_grad(), autocast(processes.device, precision):
        for inputs, labels in batches:
            log: Tensor = network(inputs.to(processes.device)).float().log_softmax(1)
            best, loss = log.max(1), -log.gather(1, labels.to(log.device)[:, None])[:, 0]
            columns = [labels, best.indices, best.values.exp(), loss]
            seen.append(torch.stack([column.cpu().double() for column in columns], 1))
    shares = processes.gather(torch.cat(seen).numpy())
    rows = np.empty((sum(map(len, shares)), 4))
    for rank, share in enumerate(shares):
        rows[rank :: processes.world] = share
    names, pairs = images.classes, rows[:, :2].astype(int).tolist()
    mistakes: list[Mistake] = []
    for index in np.argsort(-rows[:, 3], kind="stable").tolist() if processes.first else ():
        label, taken = pairs[index]
        if label == taken or len(mistakes) == MOST_PICTURES:
            continue
        try:
            picture = images.picture(index)
        except ValueError:  # another image took its place
            continue
        picture.thumbnail((SIDE, SIDE))
        picture.save(jpeg := io.BytesIO(), "JPEG")
        shown = base64.b64encode(jpeg.getvalue()).decode()
        known = round(100 * float(rows[index, 2]), 2), round(float(rows[index, 3]), 4)
        mistakes.append(Mistake(images.name(index), names[label], names[taken], *known, shown))
    confusion = (
        Confusion(names[label], names[taken], count)
        for (label, taken), count in sorted(Counter(map(tuple, pairs)).items())
    )
    return Predictions(names, tuple(confusion), tuple(mistakes))

"""What a classifier takes pictures for: ``predictions.csv``, a row for each; and confusions."""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from asvit.core.codec import MALFORMED, Nullable
from asvit.core.files import read_text, write_bytes
from asvit.core.tables import csv_text, read_table
from proxies.messages import first_line

MOST_CONFUSIONS = 1_000  # pairs of different classes: all of 32 classes, of more the most frequent

_COLUMNS = ["image", "class", "predicted", "probability", "loss", "sha256"]


class Answer(NamedTuple):
    """What a classifier takes a picture for."""

    image: str  # name of the picture in its set
    label: str  # its class
    predicted: str  # the likeliest class
    probability: float  # of that class, 0 to 1
    loss: Nullable = math.nan  # cross-entropy, nats; NaN where it is not known
    digest: str = ""  # SHA-256 of the file, in hexadecimal; empty where it is not known

    @property
    def right(self) -> bool:
        """Whether it is taken for what it is."""
        return self.label == self.predicted


@dataclass(frozen=True)
class Confusion:
    """Images of class ``label`` that are taken for ``predicted``, maybe the same."""

    label: str
    predicted: str
    images: int
    share: float  # of the images of the class, per cent


def confusions_of(answers: Iterable[tuple[str, str]]) -> tuple[Confusion, ...]:
    """Every class that is taken for itself, and the most frequent confusions of two classes.

    Args:
        answers: Class of each image, and the class it is taken for.

    Returns:
        The pairs that occur, the most frequent first, without those of two classes that come
        after the first :data:`MOST_CONFUSIONS` of these.
    """
    pairs = Counter(answers)
    sizes = Counter[str]()
    for (label, _), images in pairs.items():
        sizes[label] += images

    frequent = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))
    mistakes = [pair for pair, _ in frequent if pair[0] != pair[1]]
    left_out = set(mistakes[MOST_CONFUSIONS:])
    return tuple(
        Confusion(*pair, images, 100 * images / sizes[pair[0]])
        for pair, images in frequent
        if pair not in left_out
    )


def write_answers(path: Path, answers: Iterable[Answer]) -> None:
    """Write the table as a whole or not at all."""
    rows = (
        [*answer[:3], round(answer.probability, 6), round(answer.loss, 6), answer.digest]
        for answer in answers
    )
    # Names of files may have lone surrogates, which UTF-8 cannot encode.
    write_bytes(path, csv_text([_COLUMNS, *rows]).encode("utf-8", "backslashreplace"))


def read_answers(path: Path) -> tuple[Answer, ...]:
    """Read the table.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it cannot be read; one line.
    """
    try:
        return tuple(read_table(read_text(path), "predictions", _COLUMNS, [], _answer)[1])
    except MALFORMED as error:
        raise ValueError(f"{path} cannot be read: {first_line(error)}") from error


def _answer(_header: list[str], cells: list[str]) -> Answer:
    image, label, predicted, probability, loss, digest = cells
    share = float(probability)
    if not 0 <= share <= 1:
        raise ValueError(f"probability must be 0 to 1, got {share}")
    return Answer(image, label, predicted, share, float(loss), digest)

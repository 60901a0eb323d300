"""What a classifier takes each picture for: ``predictions.csv``, a row for each."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from asvit.core.codec import Nullable
from asvit.core.files import read_text, write_bytes
from asvit.core.records import MALFORMED
from proxies.messages import first_line
from proxies.tables import csv_text, read_table

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

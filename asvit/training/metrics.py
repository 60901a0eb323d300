"""What is told of every epoch, and the files it is told in."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from asvit._files import write_text
from asvit._records import finite, number
from asvit._run_files import METRICS_CSV, METRICS_JSONL, TENSORBOARD


@dataclass(frozen=True)
class EpochRow:
    """An epoch of a training, as a row of its metrics.

    Attributes:
        epoch: Its number, from 1.
        tokens: Stride and dilation of the stem, as ``"16,5"``; empty without stages of tokens.
        learning_rate: Of its last update.
        train_loss: Mean over its steps, nats.
        loss: Cross-entropy on the validation images, nats.
        top1: Accuracy on them, per cent.
        top5: Share of them whose class is among the five best, per cent.
        average_loss: As ``loss``, of the moving average; None where there is none.
        average_top1: The same.
        average_top5: The same.
        images_per_second: In training, over all processes.
        seconds: Wall-clock time, validation included.
    """

    epoch: int
    tokens: str
    learning_rate: float
    train_loss: float
    loss: float
    top1: float
    top5: float
    average_loss: float | None
    average_top1: float | None
    average_top5: float | None
    images_per_second: float
    seconds: float

    @property
    def best_top1(self) -> float:
        """The better of the network's accuracy and that of its moving average, per cent."""
        return self.top1 if self.average_top1 is None else max(self.top1, self.average_top1)

    @property
    def average_is_better(self) -> bool:
        """Whether the moving average is the better of the two."""
        return self.average_top1 is not None and self.average_top1 >= self.top1

    def to_json(self) -> dict[str, Any]:
        """The row in the types of strict JSON."""
        return {
            name: finite(value) if isinstance(value, float) else value
            for name, value in asdict(self).items()
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Undo :meth:`to_json`."""
        lost = ("train_loss", "loss")  # may be infinite in a training that has failed
        return cls(**{**content, **{name: number(content[name]) for name in lost}})


COLUMNS = tuple(field.name for field in fields(EpochRow))


def write_metrics(folder: Path, rows: Sequence[EpochRow]) -> None:
    """Write metrics.csv and metrics.jsonl, one row an epoch, each as a whole.

    Written anew they hold no epoch twice, however often a training was stopped.

    Raises:
        OSError: If they cannot be written.
    """
    content = [row.to_json() for row in rows]
    table = io.StringIO()
    writer = csv.DictWriter(table, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(content)
    write_text(folder / METRICS_CSV, table.getvalue())
    lines = (json.dumps(row, allow_nan=False) + "\n" for row in content)
    write_text(folder / METRICS_JSONL, "".join(lines))


class TensorBoard:
    """Writes epochs for TensorBoard.

    What an earlier session left is replaced, so that no epoch is there twice.

    Args:
        folder: Run folder; the events go to a folder in it.
        rows: The epochs so far.

    Raises:
        ImportError: If TensorBoard is not installed.
    """

    def __init__(self, folder: Path, rows: Sequence[EpochRow]) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            message = "--tensorboard needs tensorboard: pip install 'asvit[train]'"
            raise ImportError(message) from error
        where = folder / TENSORBOARD
        for old in where.glob("events.out.tfevents.*"):
            old.unlink()
        self._writer: Any = SummaryWriter(where)
        for row in rows:
            self.add(row)

    def add(self, row: EpochRow) -> None:
        """Write an epoch, so that it can be seen at once."""
        for name, value in asdict(row).items():
            if isinstance(value, float):
                self._writer.add_scalar(name, value, row.epoch)
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()

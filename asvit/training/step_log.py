"""``metrics_steps.csv``: loss, learning rate and throughput within the epochs of a training."""

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from asvit.core.files import check_plain, read_text, write_text
from asvit.core.run_files import METRICS_STEPS
from asvit.core.tables import csv_text


@dataclass(frozen=True)
class StepRow:
    """Some updates of an epoch, of which the last one has the number of the row."""

    update: int  # of the whole training, from 1
    epoch: int  # from 1
    loss: float  # mean over the updates since the row before, of this epoch; nats
    learning_rate: float  # of this update
    images_per_second: float  # of all processes, since the row before, as the losses are read


_NAMES = [field.name for field in fields(StepRow)]
_TYPES = (int, int, float, float, float)


@dataclass(eq=False)
class StepLog:
    """Writes a row every so many updates, from the losses that a training reads anyway.

    Rows of updates that a continued training repeats are removed.
    """

    folder: Path
    every: int  # updates; 0 for no rows
    steps: int  # updates of an epoch
    images: int  # of an update
    tell: Callable[[StepRow], None] = lambda row: None

    def __post_init__(self) -> None:
        self._path = self.folder / METRICS_STEPS
        self.begin(0)

    def go_on(self, update: int) -> list[StepRow]:
        """Remove rows after an update of the training; return those that are left."""
        there = self._path.exists()
        if not there and not self.every:
            return []
        kept = [row for row in _read(self._path) if row.update <= update] if there else []
        write_text(self._path, csv_text([_NAMES, *map(astuple, kept)]))
        return kept

    def begin(self, epoch: int, losses: Iterable[float] = ()) -> None:
        """Begin an epoch, from 0, of which the first updates had these losses."""
        losses = list(losses)
        update = epoch * self.steps + len(losses)
        since = min(len(losses), update % self.every) if self.every else 0
        self._recent = losses[len(losses) - since :]  # since the last row
        self._unread, self._clock = 0, time.monotonic()  # updates since the clock was read

    def add(self, update: int, losses: Sequence[float], rates: Sequence[float]) -> None:
        """Take the losses and learning rates of the updates up to one, numbered from 1."""
        if not self.every:
            return
        due: list[tuple[int, float, float]] = []
        numbers = range(update - len(losses) + 1, update + 1)
        for number, loss, rate in zip(numbers, losses, rates, strict=True):
            self._recent.append(loss)
            self._unread += 1
            if number % self.every == 0:
                due.append((number, statistics.fmean(self._recent), rate))
                self._recent.clear()
        if not due:
            return
        now = time.monotonic()
        speed = self._unread * self.images / max(now - self._clock, 1e-9)
        self._unread, self._clock = 0, now
        rows = [StepRow(n, (n - 1) // self.steps + 1, loss, rate, speed) for n, loss, rate in due]
        self._append(rows)
        for row in rows:
            self.tell(row)

    def _append(self, rows: Sequence[StepRow]) -> None:
        check_plain(self._path)
        try:
            with self._path.open("a", encoding="utf-8", newline="") as file:
                file.write(csv_text(map(astuple, rows)))
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._path)) from error


def _read(path: Path) -> list[StepRow]:
    """The whole rows of a file: a kill may cut the last."""
    rows: list[StepRow] = []
    try:
        lines = read_text(path).split("\n")[1:-1]
    except UnicodeDecodeError:
        return rows
    for line in lines:
        try:
            cells = [kind(cell) for kind, cell in zip(_TYPES, line.split(","), strict=True)]
        except ValueError:
            continue
        rows.append(StepRow(*cells))
    return rows

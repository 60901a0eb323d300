"""``metrics_steps.csv``: loss, learning rate and throughput within the epochs of a training."""

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from asvit.core.files import check_plain, read_text, write_text
from asvit.core.run_files import METRICS_STEPS
from proxies.tables import csv_text


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


class StepLog:
    """Writes a row every so many updates, from the losses that a training reads anyway.

    Rows of updates that a continued training repeats are removed.
    """

    def __init__(
        self,
        folder: Path,
        *,
        every: int,  # updates; 0 for no rows
        steps: int,  # updates of an epoch
        images: int,  # of an update
        tell: Callable[[StepRow], None] = lambda row: None,
    ) -> None:
        self._path = folder / METRICS_STEPS
        self._every, self._steps, self._images, self._tell = every, steps, images, tell
        self._recent: list[float] = []  # losses since the last row, of the epoch
        self._unread = 0  # updates since the clock was read
        self._clock = time.monotonic()

    def go_on(self, update: int) -> list[StepRow]:
        """Remove rows after an update of the training; return those that are left."""
        if not self._every and not self._path.exists():
            return []
        rows, whole = _read(self._path)
        kept = [row for row in rows if row.update <= update]
        if not whole or len(kept) < len(rows):
            write_text(self._path, csv_text([_NAMES, *map(astuple, kept)]))
        return kept

    def begin(self, epoch: int, losses: Iterable[float] = ()) -> None:
        """Begin an epoch, from 0, of which the first updates had these losses."""
        losses = list(losses)
        update = epoch * self._steps + len(losses)
        since = min(len(losses), update % self._every) if self._every else 0
        self._recent = losses[len(losses) - since :]
        self._unread, self._clock = 0, time.monotonic()

    def add(self, update: int, losses: Sequence[float], rates: Sequence[float]) -> None:
        """Take the losses and learning rates of the updates up to one, numbered from 1."""
        if not self._every:
            return
        due: list[tuple[int, float, float]] = []
        for number, loss, rate in zip(
            range(update - len(losses) + 1, update + 1), losses, rates, strict=True
        ):
            self._recent.append(loss)
            self._unread += 1
            if number % self._every == 0:
                due.append((number, statistics.fmean(self._recent), rate))
                self._recent.clear()
        if not due:
            return
        now = time.monotonic()
        speed = self._unread * self._images / max(now - self._clock, 1e-9)
        self._unread, self._clock = 0, now
        rows = [
            StepRow(number, (number - 1) // self._steps + 1, loss, rate, speed)
            for number, loss, rate in due
        ]
        self._append(rows)
        for row in rows:
            self._tell(row)

    def _append(self, rows: Sequence[StepRow]) -> None:
        check_plain(self._path)
        try:
            with self._path.open("a", encoding="utf-8", newline="") as file:
                file.write(csv_text(map(astuple, rows)))
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._path)) from error


def _read(path: Path) -> tuple[list[StepRow], bool]:
    """The rows of a file, and whether there is nothing else in it: a kill may cut the last."""
    try:
        head, *lines = read_text(path).split("\n")
    except (FileNotFoundError, UnicodeDecodeError):
        return [], False
    whole = head == ",".join(_NAMES) and bool(lines) and not lines[-1]
    rows: list[StepRow] = []
    for line in lines[:-1]:
        try:
            cells = [kind(cell) for kind, cell in zip(_TYPES, line.split(","), strict=True)]
        except ValueError:
            whole = False
            continue
        rows.append(StepRow(*cells))
    return rows, whole

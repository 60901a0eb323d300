"""Output for people: tables, numbers, durations; on a terminal, in a pipe or in a notebook."""

from __future__ import annotations

import errno
import math
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from proxies.text import legible

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.table import Table

_SHORT = {"length_distortion": "L^E", "ntk_condition_number": "kappa"}

ARCHITECTURE = "architecture"  # heading of a column
_COUNTS = ("params", "multiply-adds")
MISSING = "–"  # an absent or failed value in a table
_LARGE = 1e15  # from here on a number has an exponent: measures may have up to 150 digits
_BETWEEN = 3  # columns of the screen between those of a table
PIPE_WIDTH = 200  # columns of a table in a pipe, without COLUMNS; wide enough for whole texts


def discard(stream: IO[str]) -> None:
    """Send what is written on a stream from now on, or when Python exits, nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@contextmanager
def expendable(stream: IO[str]) -> Iterator[None]:
    """Write lines for people on a stream, if it takes them: no work ends because it does not.

    A pipe without a reader and a closed terminal take nothing more, a full disk may do so later.
    """
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            discard(stream)


class _Expendable:
    """A stream that is written on as :func:`expendable` does."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> None:
        with expendable(self._stream):
            self._stream.write(text)

    def flush(self) -> None:
        with expendable(self._stream):
            self._stream.flush()


def console(*, err: bool = False) -> Console:
    """A console that prints text literally: no markup, no highlighting, no emoji codes.

    Control characters in a text are escaped; only rich's own reach the terminal. One on stderr
    ends no work.
    """
    from rich.console import Console
    from rich.text import Text

    class Legible(Console):
        def render_str(self, text: str, **options: Any) -> Text:
            lines = (legible(line) for line in text.split("\n"))
            return super().render_str("\n".join(lines), **options)

        def print(self, *objects: Any, **options: Any) -> None:
            super().print(*objects, **{"crop": False, **options})  # unwrapped text stays whole

        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # ends a command quietly; rich's own handler ends it as an error

    stream = sys.stderr if err else sys.stdout
    width = None if stream.isatty() else PIPE_WIDTH
    if width is not None and os.environ.get("COLUMNS"):
        width = shutil.get_terminal_size((PIPE_WIDTH, 0)).columns
    file: Any = _Expendable(stream) if err else stream
    return Legible(file=file, width=width, markup=False, highlight=False, emoji=False)


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    title: str | None = None,
    left: Sequence[str] = (),
    rule: int = 0,
) -> RenderableType:
    """A table for people, with numbers to the right but the columns ``left`` to the left.

    A cell is a text, a number, or None; a line across the table lies below ``rule`` rows. Where
    it is too wide, texts are folded at spaces, or rows stand one below the other; counts beside
    architectures are rounded.
    """
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    counted = [ARCHITECTURE in columns and column in _COUNTS for column in columns]
    records = list(rows)
    cells = [
        [
            legible(cell) if isinstance(cell, str) else (count if rounded else number)(cell)
            for cell, rounded in zip(row, counted, strict=True)
        ]
        for row in records
    ]
    headings = [
        legible(column).replace("-", "-\n") if rounded else legible(column)
        for column, rounded in zip(columns, counted, strict=True)
    ]
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for place, (column, heading) in enumerate(zip(columns, headings, strict=True)):
        justify: Any = "left" if column in left else "right"
        # Headings are folded rather than numbers, whose last digits would stand a line below.
        numbers = [
            cells[at][place] for at, row in enumerate(records) if not isinstance(row[place], str)
        ]
        least = max(map(len, numbers), default=0)
        grid.add_column(Text(heading), justify=justify, overflow="fold", min_width=least)
    for place, row in enumerate(cells, 1):
        grid.add_row(*map(Text, row), end_section=place == rule)
    drawn = _Fitting(grid, [heading.replace("-\n", "-") for heading in headings], cells)
    if title is None:
        return drawn
    return Group(Text(legible(title), style="bold", no_wrap=True, overflow="ignore"), drawn)


@dataclass(frozen=True)
class _Fitting:
    """A table, or its rows one below the other where words would be broken to fit the screen."""

    table: Table
    headings: Sequence[str]
    cells: Sequence[Sequence[str]]

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        from rich.cells import cell_len
        from rich.text import Text

        columns = (
            [heading.replace("-", "- "), *cells]
            for heading, *cells in zip(self.headings, *self.cells, strict=True)
        )
        words = ([word for text in column for word in text.split()] for column in columns)
        least = sum(max(map(cell_len, each), default=0) + _BETWEEN for each in words)
        if least - _BETWEEN <= options.max_width:
            yield self.table
            return
        for row in self.cells:
            pairs = zip(self.headings, row, strict=True)
            lines = (f"{name}: {cell}" if name else cell for name, cell in pairs)
            yield Text("\n".join(["", *lines]), no_wrap=True, overflow="ignore")


def count(value: object) -> str:
    """A number of parameters or multiply-adds with three digits: ``2.37M``."""
    if not isinstance(value, int) or value < 1000:
        return number(value)
    digits, exponent = f"{value:.2e}".split("e")
    power = int(exponent) // 3
    return f"{float(digits) * 10 ** (int(exponent) - 3 * power):.3g}{' KMGTPE'[power]}"


def number(value: object, digits: int = 4) -> str:
    """``value`` with ``digits`` significant digits; whole numbers whole, nothing as a dash."""
    if value is None or value != value:  # NaN
        return MISSING
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, float):
        whole = 10 ** (digits - 1) <= abs(value) < _LARGE
        return f"{value:,.0f}" if whole else f"{value:,.{digits}g}"
    return str(value)


def quantity(count: int, noun: str) -> str:
    """So many things, as ``1 epoch`` or ``2,000 epochs``."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def percent(value: float | None) -> str:
    """An accuracy in per cent."""
    return f"{number(value)} %"


def short(measure: str) -> str:
    """The name of ``measure`` where there is little room."""
    return _SHORT.get(measure, measure.replace("_", " "))


def duration(seconds: float) -> str:
    """A rough duration in words, as ``40 seconds``, ``25 minutes`` or ``10.6 hours``."""
    for unit, size, most in (("second", 1, 90), ("minute", 60, 90), ("hour", 3600, math.inf)):
        if seconds < most * size:
            many = seconds / size
            number = f"{many:.1f}" if unit == "hour" and many < 100 else f"{round(many)}"
            return f"{number} {unit}{'s' * (float(number) != 1)}"
    return MISSING


def clock(seconds: float) -> str:
    """A duration as ``1:02:03`` or ``2:03``."""
    if not math.isfinite(seconds):
        return MISSING
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"

"""Live progress of measuring a reference table on stderr: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from asvit.cli.progress import Count, OneLine
from asvit.console import clock, console, number, short

if TYPE_CHECKING:
    from asvit.runs.correlation.measure import RowEvent

_MOST_VALUES = 3  # measures of an architecture that a line has room for


@dataclass(frozen=True)
class TableWatch:
    """What to tell of measuring a table as it goes on.

    Attributes:
        images: Called as images are made or read.
        row: Called after every row.
    """

    images: Count
    row: Callable[[RowEvent], None]


@contextmanager
def table_progress(title: str, *, quiet: bool = False) -> Iterator[TableWatch]:
    """What to tell of measuring a table, for as long as it runs.

    Nothing stays on stderr before the first row, so that an error there is the only line, and a
    table that is measured already is silent.

    Args:
        title: What is being measured, in a line.
        quiet: Show nothing.
    """
    if quiet:
        yield TableWatch(lambda _done, _total: None, lambda _event: None)
    elif sys.stderr.isatty():
        with _bar(title) as watch:
            yield watch
    else:
        yield TableWatch(OneLine(), Lines(title))


class Lines:
    """Writes a line for every 5 % of the rows, and for the first one of a session."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._twentieth = -1

    def __call__(self, event: RowEvent) -> None:
        """Write the line of ``event`` if it is time for one."""
        if self._twentieth < 0:
            click.echo(opening(self._title, event), err=True)
        twentieth = 20 * event.row // event.rows
        if twentieth > self._twentieth:
            self._twentieth = twentieth
            line = f"row {event.row}/{event.rows}  ETA {clock(remaining(event))}"
            click.echo(f"{line}  {state(event)}", err=True)


@contextmanager
def _bar(title: str) -> Iterator[TableWatch]:
    """A bar with the row and the ETA, and a line of its own for what was measured last."""
    from rich.console import Group
    from rich.live import Live
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.text import Text

    bar = Progress(
        TextColumn("measuring"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("ETA {task.fields[eta]}"),
        expand=True,
    )
    task = bar.add_task("rows", total=None, eta=clock(math.nan))
    found = Text("getting ready")
    screen = console(err=True)
    seen = False

    def images(done: int, total: int) -> None:
        found.plain = f"preparing images, {done}/{total}"

    def row(event: RowEvent) -> None:
        nonlocal seen
        if not seen:
            seen = True
            screen.print(opening(title, event))
        bar.update(task, completed=event.row, total=event.rows, eta=clock(remaining(event)))
        found.plain = state(event)

    with Live(Group(bar, found), console=screen, refresh_per_second=4, transient=True):
        yield TableWatch(images, row)


def opening(title: str, event: RowEvent) -> str:
    """The line before the first row of a session."""
    return f"{title}; {event.resumed} of them known" if event.resumed else title


def remaining(event: RowEvent) -> float:
    """Seconds to the end at the pace of this session."""
    return event.seconds / (event.row - event.resumed) * (event.rows - event.row)


def state(event: RowEvent) -> str:
    """What was measured last, and the failures, in a few words."""
    scores = event.scores
    if len(scores) <= _MOST_VALUES:
        told = ", ".join(f"{short(name)} {number(score.value)}" for name, score in scores.items())
    else:
        told = f"{len(scores)} measures"
    failed = f"  failed {event.failures}" if event.failures else ""
    return f"{event.architecture} ({told}){failed}"

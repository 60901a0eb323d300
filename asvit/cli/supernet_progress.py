"""Live progress of a supernet on stderr: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import click

from asvit.cli.output import console, number
from asvit.cli.progress import Count, OneLine, clock


@dataclass(frozen=True)
class Moment:
    """How far a run is.

    Attributes:
        done: Steps or paths that are done, of all sessions.
        total: How many there will be.
        resumed: Those of earlier sessions.
        seconds: Since this session began with them.
        state: What there is to tell, in a few words.
        unit: What is counted, in a word or a few.
    """

    done: int
    total: int
    resumed: int
    seconds: float
    state: str
    unit: str

    @property
    def remaining(self) -> float:
        """Seconds to the end at the pace of this session; NaN before there is one."""
        fresh = self.done - self.resumed
        return self.seconds / fresh * (self.total - self.done) if fresh > 0 else math.nan


@dataclass(frozen=True)
class Watch:
    """What to tell of a run as it goes on.

    Attributes:
        images: Called as the images are made or read.
        moment: Called after every step or path.
    """

    images: Count
    moment: Callable[[Moment], None]


@contextmanager
def supernet_progress(title: str, *, quiet: bool = False) -> Iterator[Watch]:
    """What to tell of a run, for as long as it goes on.

    Args:
        title: What goes on, in a line. Nothing of it is shown before the first step, so that an
            error there is the only line.
        quiet: Show nothing.
    """
    if quiet:
        yield Watch(lambda _done, _total: None, lambda _moment: None)
    elif sys.stderr.isatty():
        with _bar(title) as watch:
            yield watch
    else:
        yield Watch(OneLine(), Lines(title))


class Lines:
    """Writes a line for every 5 %, and for the first step of a session and of another unit."""

    def __init__(self, title: str) -> None:
        self._title: str | None = title  # until it has been written
        self._unit = ""
        self._twentieth = -1

    def __call__(self, moment: Moment) -> None:
        """Write the line of ``moment`` if it is time for one."""
        if self._title is not None:
            click.echo(_opening(self._title, moment), err=True)
            self._title = None
        if moment.unit != self._unit:
            self._unit, self._twentieth = moment.unit, -1
        twentieth = 20 * moment.done // moment.total
        if twentieth > self._twentieth:
            self._twentieth = twentieth
            at = f"{moment.unit} {moment.done}/{moment.total}  ETA {clock(moment.remaining)}"
            click.echo(f"{at}  {moment.state}", err=True)


@contextmanager
def _bar(title: str) -> Iterator[Watch]:
    """A bar with the steps and the ETA, and what there is to tell below it."""
    from rich.console import Group
    from rich.live import Live
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.text import Text

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("ETA {task.fields[eta]}"),
        expand=True,
    )
    task = bar.add_task("images", total=None, eta=clock(math.nan))
    told = Text("getting ready")
    screen = console(err=True)
    seen = False

    def images(done: int, total: int) -> None:
        bar.update(task, completed=done, total=total)

    def moment(now: Moment) -> None:
        nonlocal seen
        if not seen:
            seen = True
            screen.print(_opening(title, now))
        eta = clock(now.remaining)
        bar.update(task, description=now.unit, completed=now.done, total=now.total, eta=eta)
        told.plain = now.state

    with Live(Group(bar, told), console=screen, refresh_per_second=4, transient=True):
        yield Watch(images, moment)


def _opening(title: str, moment: Moment) -> str:
    """The line before the first step of a session."""
    if not moment.resumed:
        return title
    return f"{title}; going on after {moment.unit} {moment.resumed}"


def percent(value: float) -> str:
    """An accuracy in per cent."""
    return f"{number(value)} %"

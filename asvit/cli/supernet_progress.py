"""Live progress of a supernet on stderr: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import click

from asvit.cli.moments import Moment, moment_bar
from asvit.cli.progress import Count, OneLine
from asvit.console import clock, number


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
        with moment_bar(partial(_opening, title)) as (images, moment):
            yield Watch(images, moment)
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


def _opening(title: str, moment: Moment) -> str:
    """The line before the first step of a session."""
    if not moment.resumed:
        return title
    return f"{title}; going on after {moment.unit} {moment.resumed}"


def percent(value: float) -> str:
    """An accuracy in per cent."""
    return f"{number(value)} %"

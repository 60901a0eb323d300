"""Live progress on stderr: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from asvit.console import clock, console, number, short

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

    from asvit.search import StepEvent

# Called with how many there are so far, and how many there will be.
Count = Callable[[int, int], None]


@dataclass(frozen=True)
class Watch:
    """What to tell of a search as it goes on.

    Attributes:
        images: Called as the images are made or read.
        step: Called after every step.
    """

    images: Count
    step: Callable[[StepEvent], None]


@contextmanager
def images_progress(*, quiet: bool = False) -> Iterator[Count]:
    """What to call as images are made or read, for as long as that takes.

    Args:
        quiet: Show nothing.
    """
    if quiet:
        yield lambda _done, _total: None
    elif sys.stderr.isatty():
        bar = _Bar("images")
        with _live(bar.shown, console(err=True)):
            yield bar.images
    else:
        yield OneLine()


@contextmanager
def search_progress(title: str, *, quiet: bool = False) -> Iterator[Watch]:
    """What to tell of a search, for as long as it runs.

    Args:
        title: What is being searched, in a line. Nothing of it is shown before the first step, so
            that an error there is the only line.
        quiet: Show nothing.
    """
    if quiet:
        yield Watch(lambda _done, _total: None, lambda _event: None)
    elif sys.stderr.isatty():
        with _search_bar(title) as watch:
            yield watch
    else:
        yield Watch(OneLine(), Lines(title))


class OneLine:
    """Writes one line when images have to be made or read, as kept ones need not."""

    def __init__(self) -> None:
        self._written = False

    def __call__(self, done: int, total: int) -> None:
        """Write the line, unless it is there or all is done."""
        if done < total and not self._written:
            self._written = True
            click.echo(f"preparing {total} images", err=True)


class Lines:
    """Writes a line for every 5 % of a search, and for its first step of a session."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._twentieth = -1

    def __call__(self, event: StepEvent) -> None:
        """Write the line of ``event`` if it is time for one."""
        if self._twentieth < 0:
            click.echo(_opening(self._title, event), err=True)
        twentieth = 20 * event.step // event.steps
        if twentieth > self._twentieth:
            self._twentieth = twentieth
            line = f"step {event.step}/{event.steps}  ETA {clock(remaining(event))}"
            click.echo(f"{line}  {'  '.join(state(event))}", err=True)


@contextmanager
def _search_bar(title: str) -> Iterator[Watch]:
    """A bar with the step and the ETA, and a line of its own for what has been found."""
    from rich.console import Group
    from rich.text import Text

    bar = _Bar("searching")
    found = Text("getting ready")
    screen = console(err=True)
    seen = False

    def step(event: StepEvent) -> None:
        nonlocal seen
        if not seen:
            seen = True
            screen.print(_opening(title, event))
        bar.show("searching", event.step, event.steps, remaining(event))
        found.plain = "  ".join(state(event))

    with _live(Group(bar.shown, found), screen):
        yield Watch(bar.images, step)


def _live(shown: RenderableType, screen: Console) -> Live:
    """Shows ``shown`` on ``screen`` for as long as it is open."""
    from rich.live import Live

    return Live(shown, console=screen, refresh_per_second=4, transient=True)


class _Bar:
    """A bar with a count and the ETA.

    Args:
        what: What goes on, in a word.

    Attributes:
        shown: The bar, for rich to show.
    """

    def __init__(self, what: str) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self.shown = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("ETA {task.fields[eta]}"),
            expand=True,
        )
        self._task = self.shown.add_task(what, total=None, eta=clock(math.nan))
        self._started = time.monotonic()

    def show(self, what: str, done: int, total: int, left: float) -> None:
        """Set the bar to ``done`` of ``total`` with ``left`` seconds to go."""
        self.shown.update(
            self._task, description=what, completed=done, total=total, eta=clock(left)
        )

    def images(self, done: int, total: int) -> None:
        """Set the bar to ``done`` of ``total`` images."""
        pace = (time.monotonic() - self._started) / done
        self.show("images", done, total, pace * (total - done))


def _opening(title: str, event: StepEvent) -> str:
    """The line before the first step of a session."""
    return f"{title}; going on after step {event.resumed}" if event.resumed else title


def remaining(event: StepEvent) -> float:
    """Seconds to the end at the pace of this session; NaN before there is one."""
    done = event.step - event.resumed
    return event.seconds / done * (event.steps - event.step) if done > 0 else math.nan


def state(event: StepEvent) -> list[str]:
    """Entropy, best so far and failures, each as a short text; what is not there is left out."""
    parts = []
    if math.isfinite(event.entropy):
        parts.append(f"entropy {event.entropy:.2f}")
    if event.best is not None:
        values = (f"{short(k)} {number(v)}" for k, v in event.best.values.items())
        parts.append(f"best {event.best.architecture} ({', '.join(values)})")
    if event.failures:
        parts.append(f"failed {event.failures}")
    return parts

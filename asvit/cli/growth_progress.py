"""Live progress of a scaling on stderr: a bar on a terminal, a plain line a step elsewhere."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from asvit.cli.output import console, number
from asvit.cli.progress import Count, OneLine, clock, short

if TYPE_CHECKING:
    from scaling import GrowthEvent, Step

_DEARER = 1.1  # how much longer a step takes than the one before it, about


@dataclass(frozen=True)
class GrowthWatch:
    """What to tell of a growth as it goes on.

    Attributes:
        images: Called as the images are made or read.
        event: Called with every event.
    """

    images: Count
    event: Callable[[GrowthEvent], None]


@contextmanager
def growth_progress(title: str, *, quiet: bool = False) -> Iterator[GrowthWatch]:
    """What to tell of a growth, for as long as it runs.

    Nothing stays on stderr before the first event, so that an error there is the only line.

    Args:
        title: What is being grown, in a line.
        quiet: Show nothing.
    """
    if quiet:
        yield GrowthWatch(lambda _done, _total: None, lambda _event: None)
    elif sys.stderr.isatty():
        with _bar(title) as watch:
            yield watch
    else:
        yield GrowthWatch(OneLine(), Lines(title))


class Lines:
    """Writes a line for every finished step, and one before the first of a session."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._opened = False

    def __call__(self, event: GrowthEvent) -> None:
        """Write the line of ``event`` if it ends a step."""
        if not self._opened:
            self._opened = True
            click.echo(self._title, err=True)
        if event.chosen is not None:
            words = f"ETA {clock(remaining(event))}  {state(event.chosen)}"
            click.echo(f"step {event.step}  {words}", err=True)


@contextmanager
def _bar(title: str) -> Iterator[GrowthWatch]:
    """A bar over the way to the budget, with the step in progress and the last one below it."""
    from rich.console import Group
    from rich.live import Live
    from rich.progress import BarColumn, Progress, TextColumn
    from rich.text import Text

    bar = Progress(
        TextColumn("growing"),
        BarColumn(bar_width=None),
        TextColumn("{task.percentage:>3.0f}%  ETA {task.fields[eta]}"),
        expand=True,
    )
    task = bar.add_task("growth", total=1.0, eta=clock(math.nan))
    found = Text("getting ready")
    screen = console(err=True)
    seen = False
    last = ""

    def images(done: int, total: int) -> None:
        found.plain = f"preparing images, {done}/{total}"

    def report(event: GrowthEvent) -> None:
        nonlocal seen, last
        if not seen:
            seen = True
            screen.print(title)
        if event.chosen is not None:
            last = f"  after {state(event.chosen)}"
        bar.update(task, completed=event.done, eta=clock(remaining(event)))
        found.plain = f"step {event.step}, candidate {event.measured}/{event.candidates}{last}"

    with Live(Group(bar, found), console=screen, refresh_per_second=4, transient=True):
        yield GrowthWatch(images, report)


def remaining(event: GrowthEvent) -> float:
    """Seconds to the end, about; NaN while there is nothing to judge by.

    Steps are about evenly spaced on the logarithmic way to the budget, and their times make a
    geometric series.
    """
    steps, done = event.step, event.done
    if steps < 1 or not 0 < done < 1 or not event.fresh:
        return math.nan
    left = steps * (1 - done) / done
    spent, whole = (math.pow(_DEARER, count) - 1 for count in (steps, steps + left))
    return event.seconds * (whole / spent - 1)


def state(step: Step) -> str:
    """The model that a step ended in, in a few words."""
    chosen = step.chosen
    depths = ",".join(map(str, chosen.depths))
    values = (f"{short(name)} {number(score.value)}" for name, score in chosen.scores.items())
    size = f"{chosen.cost.params / 1e6:.2f}M params"
    return f"depths {depths} width {chosen.width} ({size}, {', '.join(values)})"

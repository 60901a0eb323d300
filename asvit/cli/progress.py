"""Live progress of a search on stderr: a bar on a terminal, a plain line per 5 % elsewhere."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from asvit.cli.output import console, number

if TYPE_CHECKING:
    from asvit.search import StepEvent

Report = Callable[["StepEvent"], None]

_SHORT = {"length_distortion": "L^E", "ntk_condition_number": "kappa"}


@contextmanager
def search_progress(title: str, *, quiet: bool = False) -> Iterator[Report]:
    """What to call after every step of a search, for as long as it runs.

    Nothing stays on stderr before the first step, so that an error there is the only line.

    Args:
        title: What is being searched, in a line.
        quiet: Show nothing.
    """
    if quiet:
        yield lambda _event: None
    elif sys.stderr.isatty():
        with _bar(title) as report:
            yield report
    else:
        yield Lines(title)


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
def _bar(title: str) -> Iterator[Report]:
    """A bar with the step and the ETA, and a line of its own for what has been found."""
    from rich.console import Group
    from rich.live import Live
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.text import Text

    bar = Progress(
        TextColumn("searching"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("ETA {task.fields[eta]}"),
        expand=True,
    )
    task = bar.add_task("search", total=None, eta=clock(math.nan))
    found = Text("getting ready")
    screen = console(err=True)
    seen = False

    def report(event: StepEvent) -> None:
        nonlocal seen
        if not seen:
            seen = True
            screen.print(_opening(title, event))
        eta = clock(remaining(event))
        bar.update(task, total=event.steps, completed=event.step, eta=eta)
        found.plain = "  ".join(state(event))

    with Live(Group(bar, found), console=screen, refresh_per_second=4, transient=True):
        yield report


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


def short(measure: str) -> str:
    """The name of ``measure`` where there is little room."""
    return _SHORT.get(measure, measure.replace("_", " "))


def clock(seconds: float) -> str:
    """A duration as ``1:02:03`` or ``2:03``."""
    if not math.isfinite(seconds):
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"

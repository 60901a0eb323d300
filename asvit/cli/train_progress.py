"""Live progress of a training on stderr: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from asvit.cli.progress import Count, OneLine
from asvit.cli.train_tables import show_plan
from asvit.console import clock, console, number

if TYPE_CHECKING:
    from asvit.runs.training.plan import TrainPlan
    from asvit.runs.training.session import TrainEvent
    from asvit.training.metrics import EpochRow

_QUIET_SECONDS = 60.0  # longest time without a line


@dataclass(frozen=True)
class Watch:
    """What to tell of a training as it goes on.

    Attributes:
        images: Called as the images are made.
        planned: Called with what is going to be done.
        event: Called now and then, and at the end of every epoch.
    """

    images: Count
    planned: Callable[[TrainPlan], None]
    event: Callable[[TrainEvent], None]


@contextmanager
def train_progress(*, quiet: bool = False) -> Iterator[Watch]:
    """What to tell of a training, for as long as it goes on.

    Args:
        quiet: Show nothing.
    """
    if quiet:
        yield Watch(lambda _done, _total: None, lambda _plan: None, lambda _event: None)
    elif sys.stderr.isatty():
        with _bar() as watch:
            yield watch
    else:
        yield Watch(OneLine(), lambda plan: show_plan(plan, console(err=True)), Lines())


class Lines:
    """Writes a line for every epoch, and one a minute within long ones."""

    def __init__(self) -> None:
        self._last = -math.inf

    def __call__(self, event: TrainEvent) -> None:
        """Write the line of ``event`` if it is time for one."""
        now = time.monotonic()
        if event.row is None and now - self._last < _QUIET_SECONDS:
            return
        self._last = now
        click.echo(f"{where(event)}  ETA {clock(remaining(event))}  {state(event)}", err=True)


@contextmanager
def _bar() -> Iterator[Watch]:
    """A bar over the whole training, with the step and the last epoch below it."""
    from rich.console import Group
    from rich.live import Live
    from rich.progress import BarColumn, Progress, TextColumn
    from rich.text import Text

    bar = Progress(
        TextColumn("training"),
        BarColumn(bar_width=None),
        TextColumn("{task.percentage:>3.0f}%  ETA {task.fields[eta]}"),
        expand=True,
    )
    task = bar.add_task("training", total=1.0, eta=clock(math.nan))
    now, last = Text("getting ready"), Text("")
    screen = console(err=True)

    def images(done: int, total: int) -> None:
        now.plain = f"preparing images, {done}/{total}"

    def event(told: TrainEvent) -> None:
        bar.update(task, completed=told.share, eta=clock(remaining(told)))
        now.plain = f"{where(told)}  {_step(told)}"
        if told.row is not None:
            last.plain = f"epoch {told.row.epoch}: {_row(told.row)}"

    with Live(Group(bar, now, last), console=screen, refresh_per_second=4, transient=True):
        yield Watch(images, lambda plan: show_plan(plan, screen), event)


def where(event: TrainEvent) -> str:
    """How far a training is, as ``epoch 3/300`` or ``epoch 3/300, step 50/312``."""
    epoch = f"epoch {event.epoch}/{event.epochs}"
    return epoch if event.row is not None else f"{epoch}, step {event.step}/{event.steps}"


def remaining(event: TrainEvent) -> float:
    """Seconds to the end at the pace of this session, coarser tokens taken into account."""
    done = event.share - event.resumed
    return event.seconds / done * (1 - event.share) if done > 0 else math.nan


def state(event: TrainEvent) -> str:
    """What there is to tell, in a few words."""
    return _step(event) if event.row is None else f"{_row(event.row)}  {_pace(event)}"


def _step(event: TrainEvent) -> str:
    return f"loss {event.loss:.3f}  {_pace(event)}"


def _pace(event: TrainEvent) -> str:
    return f"{number(event.images_per_second)} images/s"


def _row(row: EpochRow) -> str:
    parts = [f"loss {row.train_loss:.3f}", f"top-1 {row.top1:.2f} %", f"top-5 {row.top5:.2f} %"]
    if row.average_top1 is not None:
        parts.append(f"average's top-1 {row.average_top1:.2f} %")
    if row.tokens:
        parts.append(f"tokens {row.tokens}")
    return "  ".join(parts)

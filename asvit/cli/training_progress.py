"""Live progress of trainings on stderr: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from asvit.cli.moments import Moment, moment_bar
from asvit.cli.progress import Count, OneLine
from asvit.console import clock, number

if TYPE_CHECKING:
    from asvit.runs.reference import TrainingEvent


@dataclass(frozen=True)
class Watch:
    """What to tell of trainings as they go on.

    Attributes:
        images: Called as the images are made or read.
        training: Called after every training.
    """

    images: Count
    training: Callable[[TrainingEvent], None]


@contextmanager
def training_progress(title: str, *, quiet: bool = False) -> Iterator[Watch]:
    """What to tell of the trainings of a table, for as long as they run.

    Args:
        title: What is being built, in a line. Nothing of it is shown before the first training
            has ended, so that an error there is the only line.
        quiet: Show nothing.
    """
    if quiet:
        yield Watch(lambda _done, _total: None, lambda _event: None)
    elif sys.stderr.isatty():
        with _bar(title) as watch:
            yield watch
    else:
        yield Watch(OneLine(), Lines(title))


class Lines:
    """Writes a line for every training, as each takes long."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._opened = False

    def __call__(self, event: TrainingEvent) -> None:
        """Write the line of ``event``."""
        if not self._opened:
            self._opened = True
            click.echo(opening(self._title, event), err=True)
        line = f"training {event.done}/{event.total}  ETA {clock(remaining(event))}"
        click.echo(f"{line}  {state(event)}", err=True)


@contextmanager
def _bar(title: str) -> Iterator[Watch]:
    """A bar with the trainings and the ETA, and the last training below it."""
    with moment_bar(lambda first: _opening(title, first.resumed)) as (images, moment):
        yield Watch(images, lambda event: moment(_moment(event)))


def opening(title: str, event: TrainingEvent) -> str:
    """The line before the first training of a session."""
    return _opening(title, _moment(event).resumed)


def _opening(title: str, before: int) -> str:
    return f"{title}; going on after {before} of them" if before else title


def remaining(event: TrainingEvent) -> float:
    """Seconds to the end at the pace of this session."""
    return _moment(event).remaining


def state(event: TrainingEvent) -> str:
    """The training that has ended, in a few words."""
    training, outcome = event.training, event.outcome
    came_to = outcome.reason or f"{number(outcome.accuracy)} %"
    return f"{training.architecture} seed {training.seed}: {came_to}"


def _moment(event: TrainingEvent) -> Moment:
    resumed = event.done - event.fresh
    return Moment(event.done, event.total, resumed, event.seconds, state(event), "training")

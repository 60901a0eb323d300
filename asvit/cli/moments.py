"""How far a run of counted things is, and a bar that shows it on a terminal."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from asvit.cli.progress import Count
from asvit.console import clock, console


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


@contextmanager
def moment_bar(
    opening: Callable[[Moment], str],
) -> Iterator[tuple[Count, Callable[[Moment], None]]]:
    """A bar with the count and the ETA, and what there is to tell below it.

    Args:
        opening: The line above it, asked for at the first moment.

    Yields:
        What to call as the images are made or read, and what to call with every moment.
    """
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
            screen.print(opening(now))
        eta = clock(now.remaining)
        bar.update(task, description=now.unit, completed=now.done, total=now.total, eta=eta)
        told.plain = now.state

    with Live(Group(bar, told), console=screen, refresh_per_second=4, transient=True):
        yield images, moment

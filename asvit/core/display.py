"""The progress of any run on stderr: a live bar on a terminal or in a notebook, else lines."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from html import escape
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from asvit.core.console import clock, console, expendable, number
from asvit.core.progress import Progress, Tell, ignore
from proxies.text import legible

if TYPE_CHECKING:
    from rich.console import Console

Title = str | Callable[[], str]

_LINES = 20  # for the whole work: one for every 5 %
_LINE_SECONDS = 60.0  # longest time between two lines
_FRAME_SECONDS = 0.25  # shortest time between two frames in a notebook
_WITHOUT_CURSOR = ("dumb", "unknown")  # terminals, such as a shell in Emacs; rich has no bar there

_bars: list[Console] = []  # of the bar that is on the screen, if there is one


def say(line: str) -> None:
    """Write a line for people on stderr: above the bar while there is one.

    Click bypasses the stream that a bar puts in place of stderr, and the bar's next frame would
    erase its text.
    """
    if _bars:
        _bars[-1].print(line, soft_wrap=True)  # whole, so that paths and commands can be copied
    else:
        with expendable(sys.stderr):
            click.echo(line, err=True)


@contextmanager
def progress_display(title: Title, *, quiet: bool = False) -> Iterator[Tell]:
    """The function that displays a run's progress, inside this context.

    The title, called if it is a function, appears with the first progress, so that an earlier
    error is the only line.
    """
    if quiet:
        yield ignore
    elif in_notebook():
        yield NotebookBar(title)
    elif sys.stderr.isatty() and os.environ.get("TERM", "").lower() not in _WITHOUT_CURSOR:
        with _bar(title) as tell:
            yield tell
    else:
        yield Lines(title)


def in_notebook() -> bool:
    """Whether this process runs the cells of a notebook."""
    return "ipykernel" in sys.modules


@dataclass
class Lines:
    """Writes the title, then a line for every 5 % of the work, and at least one a minute."""

    title: Title | None
    _unit: tuple[str, str] = "", ""  # of what stage, and what is counted
    _written: int = -1  # of these lines
    _last: float = -_LINE_SECONDS

    def __call__(self, progress: Progress) -> None:
        """Write the line of ``progress`` if it is time for one."""
        unit = ("" if progress.stage is None else progress.stage.name, progress.unit)
        if progress.unit == "image":
            total = progress.total or 0
            if unit != self._unit and progress.done < total:
                say(f"preparing {total:,} images")
                self._unit = unit
            return
        if self.title is not None:
            say(opening(self.title, progress))
            self.title = None
        if unit != self._unit:
            self._unit, self._written = unit, -1
        now, part = time.monotonic(), progress.part
        due = self._written if math.isnan(part) else int(_LINES * part + 1e-9)
        if due > self._written or now - self._last >= _LINE_SECONDS:
            self._last, self._written = now, due
            say("  ".join([*stage_lines(progress), *counted(progress), progress.state]))


@dataclass
class NotebookBar:
    """A bar below a cell, in plain HTML: rich's needs ipywidgets."""

    title: Title
    _opening: str = ""
    _handle: Any = None
    _last: float = -math.inf

    def __call__(self, progress: Progress) -> None:
        """Show ``progress``, four times a second at most."""
        now = time.monotonic()
        if now - self._last < _FRAME_SECONDS and progress.done != progress.total:
            return
        self._last = now
        if not self._opening and progress.unit != "image":
            self._opening = opening(self.title, progress)
        is_known = not math.isnan(progress.part)
        value = f' value="{progress.part:.4f}"' if is_known else ""
        parts = [*stage_lines(progress), *counted(progress), progress.state]
        lines = (self._opening, "  ".join(parts))
        above, below = (f"<pre>{escape(legible(line))}</pre>" for line in lines)
        display = import_module("IPython.display")
        bar = display.HTML(f'{above}<progress style="width: 100%"{value}></progress>{below}')
        if self._handle is None:
            self._handle = display.display(bar, display_id=True)
        else:
            self._handle.update(bar)


@contextmanager
def _bar(title: Title) -> Iterator[Tell]:
    """A bar with count, pace and ETA, and a line below it for the state."""
    from rich.console import Group
    from rich.live import Live
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar
    from rich.text import Text

    bar = Bar(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[counts]}"),
        expand=True,
    )
    task = bar.add_task("", total=None, counts="")
    state = Text("getting ready", no_wrap=False, overflow="fold")  # also where a line above is not
    screen = console(err=True)
    opened = False
    last, told = Progress("", 0, None), time.monotonic()

    def shown() -> Group:
        """The bar with the clock of the stage as it is now, however long ago it was told."""
        if last.stage is not None:
            now = last.stage.later(time.monotonic() - told)
            state.plain = "\n".join([*stage_lines(replace(last, stage=now)), last.state])
        return Group(bar, state)

    def tell(progress: Progress) -> None:
        nonlocal opened, last, told
        last, told = progress, time.monotonic()
        if not opened and progress.unit != "image":
            opened = True
            say(opening(title, progress))
        part = progress.part
        is_known = not math.isnan(part)
        bar.update(
            task,
            description=progress.unit,
            completed=part if is_known else 0.0,
            total=1.0 if is_known else None,
            counts=count(progress).removeprefix(f"{progress.unit} "),
        )
        state.plain = "\n".join([*stage_lines(progress), progress.state])

    with Live(get_renderable=shown, console=screen, refresh_per_second=4, transient=True):
        _bars.append(screen)
        try:
            yield tell
        finally:
            _bars.remove(screen)


def opening(title: Title, progress: Progress) -> str:
    """The line before the first progress of a session."""
    title = title() if callable(title) else title
    if not progress.resumed:
        return title
    line, end, more = title.partition("\n")
    return f"{line}; resuming after {progress.unit} {progress.resumed:,}{end}{more}"


def stage_lines(progress: Progress) -> list[str]:
    """The stage of a run of several, as ``training (6 of 10), 9:40 of 18:00``; else nothing."""
    stage = progress.stage
    if stage is None:
        return []
    line = f"{stage.name} ({stage.place} of {stage.total}), {clock(stage.seconds)}"
    if not math.isnan(stage.planned):
        line += f" of {clock(stage.planned)}"
    left = "" if math.isnan(stage.left) else f"; {clock(max(0.0, stage.left))} left for all"
    return [line + left]


def counted(progress: Progress) -> list[str]:
    """The count, except that of stages, which is in :func:`stage_lines`."""
    return [] if progress.stage is not None and progress.unit == "stage" else [count(progress)]


def count(progress: Progress) -> str:
    """Count, pace and ETA, as ``step 5/20  1.2 s each  ETA 0:18``; of unequal steps no pace."""
    of_all = "" if progress.total is None else f"/{progress.total:,}"
    parts = [f"{progress.unit} {progress.done:,}{of_all}"]
    fresh = progress.done - progress.resumed
    if fresh > 0 and progress.seconds > 0 and progress.share is None:
        each = progress.seconds / fresh
        parts.append(
            f"{number(each, 2)} s each" if each >= 1 else f"{number(1 / each, 2)} a second"
        )
    if progress.stage is None or math.isnan(progress.stage.left):
        parts.append(f"ETA {clock(progress.remaining)}")  # else the clock of the whole tells
    return "  ".join(parts)

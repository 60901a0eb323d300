"""What people are shown: tables, numbers, durations; on a terminal, in a pipe or in a notebook."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from proxies.messages import legible

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_SHORT = {"length_distortion": "L^E", "ntk_condition_number": "kappa"}

MISSING = "–"  # an absent or failed value in a table
PIPE_WIDTH = 200  # columns of a table nobody watches: wide enough to keep every text whole


def console(*, err: bool = False) -> Console:
    """A console that takes text as it is: no markup, no highlighting, no emoji codes.

    What a terminal would obey in a text is written out; only ours leave with such characters.
    """
    from rich.console import Console
    from rich.text import Text

    class Legible(Console):
        def render_str(self, text: str, **options: Any) -> Text:
            lines = (legible(line) for line in text.split("\n"))
            return super().render_str("\n".join(lines), **options)

    stream = sys.stderr if err else sys.stdout
    width = None if stream.isatty() else max(PIPE_WIDTH, shutil.get_terminal_size().columns)
    return Legible(file=stream, width=width, markup=False, highlight=False, emoji=False)


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    title: str | None = None,
    left: Sequence[str] = (),
    rule: int = 0,
) -> Table:
    """A table for people, with numbers to the right but the columns ``left`` to the left.

    A cell is a text, a number, or None; a line across the table lies below ``rule`` rows.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(
        box=box.SIMPLE_HEAD,
        title=None if title is None else Text(legible(title), style="bold"),
        title_justify="left",
        pad_edge=False,
        header_style="bold",
    )
    for column in columns:
        made.add_column(
            Text(legible(column)), justify="left" if column in left else "right", overflow="fold"
        )
    for place, row in enumerate(rows, 1):
        cells = (Text(legible(cell) if isinstance(cell, str) else number(cell)) for cell in row)
        made.add_row(*cells, end_section=place == rule)
    return made


def number(value: object, digits: int = 4) -> str:
    """``value`` with ``digits`` significant digits; whole numbers whole, nothing as a dash."""
    if value is None or value != value:  # NaN
        return MISSING
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        whole = math.isfinite(value) and abs(value) >= 10 ** (digits - 1)
        return f"{value:,.0f}" if whole else f"{value:.{digits}g}"
    return str(value)


def networks(count: int) -> str:
    """So many networks, in words."""
    return "1 network" if count == 1 else f"{count} networks"


def percent(value: float | None) -> str:
    """An accuracy in per cent."""
    return f"{number(value)} %"


def short(measure: str) -> str:
    """The name of ``measure`` where there is little room."""
    return _SHORT.get(measure, measure.replace("_", " "))


def clock(seconds: float) -> str:
    """A duration as ``1:02:03`` or ``2:03``."""
    if not math.isfinite(seconds):
        return MISSING
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def rounded(value: float, digits: int = 3, sign: str = "") -> str:
    """A number with so many decimals; a dash where there is none."""
    return MISSING if math.isnan(value) else f"{value:{sign}.{digits}f}"


def with_interval(value: float, low: float, high: float, sign: str = "") -> str:
    """A number with the ends of its interval, as ``0.512 [0.38, 0.59]``."""
    told = rounded(value, sign=sign)
    return told if math.isnan(low) else f"{told} [{low:{sign}.2f}, {high:{sign}.2f}]"

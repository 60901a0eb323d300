"""What commands write: data on stdout, everything for people on stderr, strictly valid JSON."""

from __future__ import annotations

import json
import math
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import click

from asvit._files import write_text
from proxies.messages import legible

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

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
    """A table for people, with numbers to the right.

    Args:
        columns: The headings.
        rows: One cell a column: text, a number, or None.
        title: What the table shows.
        left: The columns of words, which go to the left.
        rule: Rows above a line across the table; 0 for no line.
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


def emit_json(data: object) -> None:
    """Write ``data`` on stdout as JSON that every parser takes: NaN and infinity become null."""
    click.echo(_json(data))


def write_json(path: Path, data: object) -> None:
    """Write ``data`` at ``path`` in the same form, as a whole or not at all.

    Raises:
        OSError: If it cannot be written.
    """
    write_text(path, _json(data) + "\n")


def _json(data: object) -> str:
    return json.dumps(plain(data), indent=2, allow_nan=False)


def plain(value: object) -> Any:
    """``value`` in the types of JSON: dataclasses as objects, paths as text, numbers finite."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, str | bool | int) or value is None:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Iterable):
        return [plain(item) for item in value]
    if isinstance(value, PurePath):
        return str(value)
    raise TypeError(f"no JSON form for {type(value).__name__}: {value!r}")

"""Tables as CSV text in which no spreadsheet finds a formula.

Names and reasons may come from somebody else. A spreadsheet computes a cell that begins like a
formula, which may fetch addresses or start programs; behind an apostrophe it is text.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from asvit.core.files import read_text
from proxies.messages import first_line
from proxies.text import shown

if TYPE_CHECKING:
    from pandas import DataFrame

T = TypeVar("T")

# Columns of CSV files that are texts even where all cells could be numbers: a class may be "00".
_TEXTS = (
    *("image", "name", "class", "label", "predicted", "sha256"),
    *("architecture", "network", "path", "choice", "reason"),
)

# Also full-width characters, which some spreadsheets accept, and text that already begins with an
# apostrophe, as reading removes one.
_FORMULA = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")


def csv_text(rows: Iterable[Iterable[object]]) -> str:
    """The text of a table; numbers, also those in texts, stay as they are."""
    lines = []
    for row in rows:
        line = io.StringIO()
        # Only characters of the line end are quoted, and a carriage return would begin a row.
        csv.writer(line, lineterminator="\r\n").writerow([_escaped(value) for value in row])
        lines.append(line.getvalue().removesuffix("\r\n") + "\n")
    return "".join(lines)


def read_table(
    text: str,
    what: str,
    before: Sequence[str],
    after: Sequence[str],
    read: Callable[[list[str], list[str]], T],
) -> tuple[list[str], list[T]]:
    """Read a table of :func:`csv_text`: the columns between ``before`` and ``after``, the rows.

    ``read`` makes a row from the names and the cells of all columns.
    """
    reader = csv.reader(io.StringIO(text))
    try:
        header = read_cells(next(reader, []))
    except csv.Error as error:
        raise ValueError(f"not a table of {what}: {error}") from error
    columns = header[len(before) : -len(after)]
    if header != [*before, *columns, *after]:
        raise ValueError(f"not a table of {what}: its columns are {shown(header)}")
    rows = []
    try:
        for cells in map(read_cells, filter(None, reader)):  # without blank lines
            if len(cells) != len(header):
                raise ValueError(f"{len(cells)} cells under a header of {len(header)}")
            rows.append(read(header, cells))
    except (ValueError, csv.Error) as error:
        raise ValueError(f"line {reader.line_num}: {first_line(error)}") from error
    return columns, rows


def read_cells(cells: Iterable[str]) -> list[str]:
    """The cells of a row as passed to :func:`csv_text`."""
    return [cell[1:] if cell[:1] == "'" and _FORMULA.match(cell) else cell for cell in cells]


def data_frame(path: Path) -> DataFrame:
    """The rows of a CSV file, below the comments of a reference table."""
    import pandas as pd

    text = read_text(path)
    while text.startswith("#"):
        text = text.partition("\n")[2]
    frame = pd.read_csv(io.StringIO(text), keep_default_na=False, na_values=["", "nan"])
    cells = pd.read_csv(io.StringIO(text), dtype=str, na_filter=False)
    for name in frame.columns:
        if name in _TEXTS or not pd.api.types.is_numeric_dtype(frame[name]):
            frame[name] = read_cells(cells[name])
    return frame.rename(columns=lambda name: read_cells([name])[0])


def _escaped(value: object) -> object:
    if not isinstance(value, str) or not _FORMULA.match(value):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value

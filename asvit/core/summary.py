"""The summary of a run as data, which a console, a notebook and the page of its report draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from asvit.core.estimates import Estimate


@dataclass(frozen=True)
class Photo:
    """A small JPEG image in base64, which only pages show."""

    jpeg: str


Cell = str | int | float | Estimate | Photo | None


@dataclass(frozen=True)
class Table:
    """Rows of cells; columns that are measures have their names, and are drawn in words."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    title: str = ""
    rule: int = 0  # rows above a line across the table

    @property
    def numeric(self) -> list[bool]:
        """Which columns have numbers and no texts; these stand to the right."""
        cells = list(zip(*self.rows, strict=True)) or [()] * len(self.columns)
        return [
            bool(column) and not any(isinstance(cell, str | Photo) for cell in column)
            for column in cells
        ]


#: Facts by their names, a line, or a table.
SummaryPart = Mapping[str, object] | str | Table

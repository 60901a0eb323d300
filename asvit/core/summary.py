"""The summary of a run as data, which a console, a notebook and the page of its report draw."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from asvit.core.console import MISSING

_USUAL = 0.95  # coverage of intervals that do not say theirs


@dataclass(frozen=True)
class Estimate:
    """A number with the ends of its interval, which are NaN where there is none."""

    value: float
    low: float
    high: float
    digits: int = 3  # decimals of the number; the ends have one less
    sign: str = ""  # "+" where positive numbers have a sign, too
    level: float = _USUAL  # coverage of the interval

    def __str__(self) -> str:
        """As ``0.512 [0.38, 0.59]``; of another coverage than 95 % with that behind it."""
        if math.isnan(self.value):
            return MISSING
        estimate, ends = f"{self.value:{self.sign}.{self.digits}f}", max(1, self.digits - 1)
        if math.isnan(self.low):
            return estimate
        level = "" if self.level == _USUAL else f" ({100 * self.level:g} %)"
        low, high = (f"{end:{self.sign}.{ends}f}" for end in (self.low, self.high))
        return f"{estimate} [{low}, {high}]{level}"


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

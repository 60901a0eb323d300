"""What a run came to, for people: a console and the page of a report show the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from asvit.core.console import table

if TYPE_CHECKING:
    from rich.console import RenderableType

Cell = str | int | float | None


@dataclass(frozen=True)
class Section:
    """A heading, words, and a table below them, whose rows have a cell for each column."""

    title: str
    words: str = ""
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[Cell]] = ()


@dataclass(frozen=True)
class Summary:
    """Short values by name, and sections in their order."""

    facts: Mapping[str, str]
    sections: Sequence[Section] = field(default=())


def columns_of_numbers(columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> list[bool]:
    """Which columns have numbers and no text; these stand to the right and sort by value."""
    cells = list(zip(*rows, strict=True)) or [()] * len(columns)
    return [any(map(_is_number, of)) and not any(isinstance(c, str) for c in of) for of in cells]


def _is_number(cell: Cell) -> bool:
    return isinstance(cell, int | float)


def on_console(summary: Summary) -> Iterator[RenderableType]:
    """The lines and tables of ``summary`` for a console."""
    yield ""
    yield from (f"{name}: {value}" for name, value in summary.facts.items())
    for one in summary.sections:
        if one.rows:
            numbers = columns_of_numbers(one.columns, one.rows)
            left = [name for name, right in zip(one.columns, numbers, strict=True) if not right]
            yield ""
            yield table(one.columns, one.rows, title=one.title, left=left)
        if one.words:
            yield one.words

"""What a run came to, for people: a console and the page of a report show the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from asvit.core.console import number

Cell = str | int | float | None


@dataclass(frozen=True)
class Table:
    """Rows of texts and numbers, as :func:`asvit.core.console.table` draws them."""

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    title: str | None = None
    left: Sequence[str] = ()  # columns of texts
    rule: int = 0  # rows above a line across the table
    divided: bool = False  # into several where there is little room, each with the first column


#: Facts by their names, a line, or a table.
SummaryPart = Mapping[str, object] | str | Table


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


def fact_lines(facts: Mapping[str, object]) -> list[str]:
    """A line for each fact."""
    return [f"{name}: {number(value)}" for name, value in facts.items()]


def parts_of(summary: Summary) -> Iterator[SummaryPart]:
    """The facts, tables and words of ``summary`` in their order."""
    yield summary.facts
    for section in summary.sections:
        if section.rows:
            numbers = columns_of_numbers(section.columns, section.rows)
            left = [
                name for name, right in zip(section.columns, numbers, strict=True) if not right
            ]
            yield ""
            yield Table(section.columns, section.rows, section.title, left=left)
        if section.words:
            yield section.words

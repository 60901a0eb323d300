"""What a run came to, as a terminal, a page and a notebook show it: facts, lines and tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from asvit.core.console import number


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


def fact_lines(facts: Mapping[str, object]) -> list[str]:
    """A line for each fact."""
    return [f"{name}: {number(value)}" for name, value in facts.items()]

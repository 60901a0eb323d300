"""Shows what a run came to: on a console, and on the page of its report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asvit.core.console import clock, fitting, number, table
from asvit.core.results import Result
from asvit.core.summary import SummaryPart, Table, fact_lines
from proxies.text import legible

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from asvit.runs.run import Run


def show(kind: type[Run[Any, Any, Any]], result: Result, screen: Console) -> None:
    """Write what a run came to on a console, and what to type next."""
    parts = list(kind.summary(result))
    for part in parts if parts[:1] == [""] else ["", *parts]:
        for renderable in rendered(part, screen):
            screen.print(renderable)
    folder, names = result.folder, kind.written.split(", ")
    there = ", ".join(n for n in names if "." not in n or (folder / n).exists())
    more = f" ({there})" if there else f", after {clock(result.wall_seconds)}"
    screen.print(legible(f"folder: {folder}{more}"))
    if result.next_command:
        screen.print(f"next:   {result.next_command}", soft_wrap=True)  # to be copied


def rendered(part: SummaryPart, screen: Console) -> Iterator[RenderableType]:
    """A part of a summary as a console prints it."""
    if isinstance(part, str):
        yield part
    elif isinstance(part, Table):
        for it in divided(part, screen) if part.divided else (part,):
            yield table(it.columns, it.rows, title=it.title, left=it.left, rule=it.rule)
    else:
        yield from fact_lines(part)


def divided(whole: Table, screen: Console) -> Iterator[Table]:
    """The columns of a table in several, each of which fits the screen; the first is in all."""

    def part(columns: Sequence[str]) -> Table:
        places = [0, *map(whole.columns.index, columns)]
        rows = [[row[place] for place in places] for row in whole.rows]
        return replace(whole, columns=[whole.columns[place] for place in places], rows=rows)

    def render(columns: Sequence[str]) -> RenderableType:
        it = part(columns)
        return table(it.columns, it.rows, left=it.left, rule=it.rule)

    for place, columns in enumerate(fitting(whole.columns[1:], render, screen)):
        yield replace(part(columns), title=None if place else whole.title)


def write_report(kind: type[Run[Any, Any, Any]], folder: Path) -> list[Path] | None:
    """Write the report of a run folder: of a kind without one of its own, summary and figures.

    Returns:
        The files written, the page last; None for a kind without a report.

    Raises:
        FileNotFoundError: If the run has not finished.
        ValueError: If its result cannot be read.
        OSError: If it cannot be written to.
    """
    if kind.report is not None:
        written: list[Path] = kind.report(folder)
        return written
    from asvit.report.html import read_result, result_page, summary_parts, write_files

    command = f"asvit {kind.command}"
    result: Result = read_result(folder, kind.result_type, command)
    pictures = kind.pictures(result)
    if pictures is None:
        return None
    facts, parts = dict[str, str](), list[str | Table]()
    for part in kind.summary(result):
        if isinstance(part, str | Table):
            parts.append(part)
        else:
            facts |= {name: number(value) for name, value in part.items()}
    page = result_page(command, result, facts, pictures, summary_parts(parts))
    return write_files(folder, pictures, page)

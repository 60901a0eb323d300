"""Shows the summary of a run on a console and on the page of its report."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asvit.core.console import number, short, table
from asvit.core.files import expanded
from asvit.core.results import RUNS, Result, kind_in
from asvit.core.run_files import MARKER, RESULT
from asvit.core.summary import SummaryPart, Table
from proxies.text import legible

if TYPE_CHECKING:
    from rich.console import Console, RenderableType


def show(kind: Any, result: Result, screen: Console) -> None:
    """Write the summary of a run on a console, and what to type next."""
    screen.print()
    show_summary(kind.summary(result), screen)
    if result.kept:
        folder, names = result.folder, kind.written.split(", ")
        there = ", ".join(n for n in names if n == "figures" or (folder / n).exists())
        screen.print(legible(f"folder: {folder}{f' ({there})' if there else ''}"))
    if result.next_command:
        screen.print(f"next:   {result.next_command}", soft_wrap=True)  # to be copied


def show_summary(summary: Iterable[SummaryPart], screen: Console) -> None:
    """Write the parts of a summary on a console, with an empty line before tables."""
    for place, part in enumerate(summary):
        if place and isinstance(part, Table):
            screen.print()
        for lines in rendered(part):
            screen.print(lines)


def rendered(part: SummaryPart) -> Iterator[RenderableType]:
    """A part of a summary as a console prints it."""
    if isinstance(part, str):
        yield part
    elif isinstance(part, Table):
        yield _console_table(part)
    else:
        yield from (f"{name}: {number(value)}" for name, value in part.items())


def _console_table(part: Table) -> RenderableType:
    columns = [short(column) for column in part.columns]
    left = [name for name, right in zip(columns, part.numeric, strict=True) if not right]
    return table(columns, part.rows, title=part.title or None, left=left, rule=part.rule)


def result_in(kind: Any, folder: Path) -> Result:
    """The result of a run in ``folder``; a FileNotFoundError if it has not finished."""
    if not (folder / RESULT).is_file():
        raise FileNotFoundError(
            f"{folder} has no finished {kind.files.noun} yet; the same asvit {kind.command} goes "
            "on with it"
        )
    result: Result = kind.result_type.read(folder / RESULT)
    return result


def kind_of(folder: Path) -> Any:
    """The kind of run that ``folder`` holds; None where no kind known here has written in it."""
    name = kind_in(folder)
    return next((kind for kind in RUNS.values() if kind.files.kind == name), None)


def write_report_in(folder: Path | str) -> list[Path]:
    """Write the report of a finished run of any kind anew, as :func:`write_report` does.

    Raises:
        FileNotFoundError: If it is no run folder, too.
    """
    folder = expanded(str(folder))
    kind = kind_of(folder)
    if kind is None:
        raise FileNotFoundError(f"{folder} is no run folder of asvit: it has no {MARKER}")
    return write_report(kind, folder)


def write_report(kind: Any, folder: Path) -> list[Path]:
    """Write the report of a finished run: its figures, their rows, and the page.

    Returns:
        The files written, the page last.

    Raises:
        FileNotFoundError: If the run has not finished, or a file is missing beside its result.
        ValueError: If one of these files cannot be read.
        OSError: If it cannot be written to.
    """
    from asvit.report.html import result_page, write_files

    result = result_in(kind, folder)
    pictures = kind.pictures(result)
    page = result_page(
        f"asvit {kind.command}", result, kind.summary(result), pictures, kind.details(result)
    )
    return write_files(folder, pictures, page)

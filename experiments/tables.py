"""Rows of dataclasses as CSV files, Markdown tables, and pages that have such tables."""

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, get_type_hints

from asvit.core.files import write_text

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

R = TypeVar("R", bound="DataclassInstance")


def write_rows(path: Path, rows: Sequence["DataclassInstance"]) -> None:
    """Write dataclass instances of one class as CSV, as a whole or not at all."""
    names = [field.name for field in fields(rows[0])]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([getattr(row, name) for name in names] for row in rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text.getvalue())


def read_rows(path: Path, kind: type[R]) -> list[R]:
    """Undo :func:`write_rows` for a dataclass of texts and numbers; no rows without a file."""
    if not path.exists():
        return []
    types = get_type_hints(kind)
    with path.open(newline="", encoding="utf-8") as file:
        return [
            kind(**{name: types[name](text) for name, text in line.items()})
            for line in csv.DictReader(file)
        ]


def markdown(columns: Mapping[str, str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; ``columns`` maps each heading to its alignment, ``"l"`` or ``"r"``."""
    rule = {"l": "---", "r": "--:"}
    lines = [list(columns), [rule[align] for align in columns.values()]]
    lines += [[str(cell).replace("|", "\\|") for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def fill_tables(page: str, words: str, table: Callable[[str], str]) -> str:
    """``page`` with the table below every line ``<!-- WORDS NAME -->`` made anew from its name.

    Tables are indented as their line is. Where ``table`` gives nothing, the old one stays.
    """

    def filled(match: re.Match[str]) -> str:
        if not (text := table(match[2])):
            return match[0]
        lines = [f"<!-- {words} {match[2]} -->", *text.splitlines()]
        return "".join(f"{match[1]}{line}\n" for line in lines)

    pattern = rf"^( *)<!-- {words} ([a-z, ]+) -->\n(?:\1\|.*\n)*"
    return re.sub(pattern, filled, page, flags=re.MULTILINE)

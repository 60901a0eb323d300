"""Rows of dataclasses as CSV files, and Markdown tables; for all experiments."""

import csv
import io
from collections.abc import Mapping, Sequence
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

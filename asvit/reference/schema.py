"""The file format of reference tables: lines above the header, and rows below it.

``# key: value`` lines come first, then a header, then one row per architecture. docs/reference.md
describes the keys and columns. Rows keep their line numbers for error messages.
"""

import csv
import hashlib
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from asvit.reference.table import Target, Training
from proxies.messages import hint
from proxies.tables import csv_text, read_cells
from proxies.text import shown

_KEYED = re.compile(r"#\s*([a-z][a-z0-9_]*)\s*:\s*(.*)")
_TRAININGS = get_args(Training)
_TARGET_FORM = "'# target: NAME | description | scratch, distilled, inherited or unknown'"
_CEILING_FORM = "'# noise_ceiling: NAME | TAU'"
_MOST_BYTES = 2**26  # half a million rows; fails fast on large files named by mistake
# Line ends, control characters and changes of the writing direction.
_UNWANTED = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]"
)

Cell = str | float | None


@dataclass(frozen=True)
class Row:
    """An architecture: its file, its first line, counted from 1, and its cells by column."""

    path: Path
    line: int
    cells: Mapping[str, str]

    def fault(self, problem: str) -> ValueError:
        """The error for this row."""
        return _fault(self.path, self.line, problem)


@dataclass(frozen=True)
class Sheet:
    """The content of a file, before its cells are interpreted."""

    path: Path
    digest: str  # SHA-256 of the file, in hexadecimal digits
    provenance: Mapping[str, str]  # key -> value above the header; other comments: ``notes``
    targets: tuple[Target, ...]  # the declared columns of accuracies, in order
    columns: tuple[str, ...]  # names in the header, in their order
    rows: tuple[Row, ...]  # without empty rows


def _fault(path: Path, line: int, problem: str) -> ValueError:
    """The error for a line of a file."""
    return ValueError(f"{path}, line {line}: {problem}")


def read_sheet(path: Path) -> Sheet:
    """Read a file of this format."""
    with path.open("rb") as file:
        data = file.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise ValueError(f"{path} has more than {_MOST_BYTES >> 20} MiB; name a table in CSV")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _fault(path, line, "no UTF-8 text; save the table as CSV in UTF-8") from error
    if unwanted := _UNWANTED.search(text):
        line = text.count("\n", 0, unwanted.start()) + 1
        raise _fault(path, line, f"character {unwanted[0]!r} belongs in no table; remove it")
    lines = io.StringIO(text, newline=None).readlines()
    rows = (i for i, line in enumerate(lines) if line.strip() and not line.startswith("#"))
    above = next(rows, len(lines))
    provenance, targets = _read_above(path, lines[:above])
    columns, records = _read_rows(path, lines[above:], above)
    digest = hashlib.sha256(data).hexdigest()
    return Sheet(path, digest, provenance, targets, columns, records)


def _read_above(path: Path, lines: Sequence[str]) -> tuple[dict[str, str], tuple[Target, ...]]:
    """Provenance and targets, from the lines above the header."""
    provenance: dict[str, str] = {}
    targets: dict[str, Target] = {}
    ceilings: dict[str, tuple[int, float]] = {}
    for number, line in enumerate(lines, 1):
        match = _KEYED.fullmatch(line.strip())
        key, value = match.groups() if match else ("notes", line.strip().lstrip("# "))
        if key == "target":
            target = _read_target(path, number, value)
            if target.name in targets:
                raise _fault(path, number, f"target {shown(target.name)} is there twice; keep one")
            targets[target.name] = target
        elif key == "noise_ceiling":
            name, ceiling = _read_ceiling(path, number, value)
            ceilings[name] = number, ceiling
        elif value:
            provenance[key] = f"{provenance[key]} {value}" if key in provenance else value
    for name, (number, ceiling) in ceilings.items():
        if name not in targets:
            advice = hint(name, targets) if targets else f"say what it is with {_TARGET_FORM}"
            problem = f"noise_ceiling of {shown(name)}, which is no target; {advice}"
            raise _fault(path, number, problem)
        targets[name] = replace(targets[name], noise_ceiling=ceiling)
    return provenance, tuple(targets.values())


def _read_target(path: Path, line: int, value: str) -> Target:
    parts = [part.strip() for part in value.split("|")]
    if len(parts) != 3 or not parts[0] or parts[2] not in _TRAININGS:
        raise _fault(path, line, f"target {shown(value)} is wrong; write {_TARGET_FORM}")
    return Target(parts[0], parts[1], parts[2])  # type: ignore[arg-type]  # as checked


def _read_ceiling(path: Path, line: int, value: str) -> tuple[str, float]:
    name, _, number = (part.strip() for part in value.partition("|"))
    try:
        ceiling = float(number)
    except ValueError:
        ceiling = math.nan
    if not -1 <= ceiling <= 1:
        problem = f"noise_ceiling {shown(value)} is wrong; write {_CEILING_FORM}, TAU from -1 to 1"
        raise _fault(path, line, problem)
    return name, ceiling


def _read_rows(
    path: Path, lines: Sequence[str], above: int
) -> tuple[tuple[str, ...], tuple[Row, ...]]:
    """The columns and the rows; ``above`` lines of the file come before ``lines``."""
    numbered = _cells(path, lines, above)
    number, names = next(numbered, (0, []))
    if not names:
        raise ValueError(f"{path} is empty; a table has a header and a row for each architecture")
    for name in names:
        if name and names.count(name) > 1:
            raise _fault(path, number, f"column {shown(name)} is there twice; rename one")
    if len(names) == 1 and any(mark in names[0] for mark in ";\t"):
        problem = f"header {shown(names[0])} has no commas; separate columns by commas"
        raise _fault(path, number, problem)
    rows = []
    for line, cells in numbered:
        if len(cells) != len(names):
            problem = f"{len(cells)} cells under a header of {len(names)}"
            raise _fault(path, line, f"{problem}; quote cells that hold commas")
        # A column without a name is an index, as pandas writes it.
        by_name = {name: cell for name, cell in zip(names, cells, strict=True) if name}
        rows.append(Row(path, line, by_name))
    return tuple(name for name in names if name), tuple(rows)


def _cells(path: Path, lines: Sequence[str], above: int) -> Iterator[tuple[int, list[str]]]:
    """Each row's line number and cells, without empty rows."""
    reader = csv.reader(lines, strict=True)
    line = above + 1  # where the row starts: a quoted cell may span several lines
    try:
        for cells in reader:
            stripped = read_cells(cell.strip() for cell in cells)
            if any(stripped):
                yield line, stripped
            line = above + reader.line_num + 1
    except csv.Error as error:
        raise _fault(path, line, f"no CSV: {error}") from error


def format_table(
    provenance: Mapping[str, str], targets: Sequence[Target], columns: Mapping[str, Sequence[Cell]]
) -> str:
    """Format a file of this format.

    ``provenance`` has the lines above the header by their keys, ``default_target`` and
    ``num_classes`` among them. None or NaN in a column is an empty cell; floats have up to 10
    digits.
    """
    above = [f"# {key}: {value}" for key, value in provenance.items()]
    above += [f"# target: {t.name} | {t.description} | {t.training}" for t in targets]
    above += [
        f"# noise_ceiling: {t.name} | {t.noise_ceiling:.4g}"
        for t in targets
        if t.noise_ceiling is not None
    ]
    cells = ([_cell(value) for value in row] for row in zip(*columns.values(), strict=True))
    return "".join(f"{line}\n" for line in above) + csv_text([columns, *cells])


def _cell(value: Cell) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return f"{value:.10g}" if isinstance(value, float) else str(value)

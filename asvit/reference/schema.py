"""The file format of reference tables: lines above the header, and rows below it.

``# key: value`` lines come first, then a header, then one row per architecture. docs/reference.md
describes the keys and columns.
"""

import csv
import hashlib
import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar, cast, get_args

from asvit.core.tables import csv_text, read_cells
from asvit.reference.table import Target, Training
from proxies.messages import first_line, hint
from proxies.text import legible, shown

T = TypeVar("T")
Cell = str | float | None

_KEYED = re.compile(r"#\s*([a-z][a-z0-9_]*)\s*:\s*(.*)")
_TARGET_FORM = "'# target: NAME | description | scratch, distilled, inherited or unknown'"
_CEILING_FORM = "'# noise_ceiling: NAME | TAU'"


@dataclass(frozen=True)
class Sheet:
    """The content of a file, before its cells are interpreted."""

    path: Path
    digest: str  # SHA-256 of the file, in hexadecimal digits
    provenance: Mapping[str, str]  # key -> value above the header; other comments: ``notes``
    targets: tuple[Target, ...]  # the declared columns of accuracies, in order
    columns: Mapping[str, Sequence[str]]  # cells ``[rows]`` by the name in the header, in order
    lines: Sequence[int]  # the line of each row, from 1

    def read(self, column: str, read: Callable[[str], T]) -> tuple[T, ...]:
        """Each cell of a column as ``read`` takes it, whose ValueError gets the line."""
        return tuple(
            self.read_row(row, read, cell) for row, cell in enumerate(self.columns[column])
        )

    def read_row(self, row: int, read: Callable[..., T], *args: object) -> T:
        """What ``read`` makes of something in a row; its ValueError gets the line."""
        try:
            return read(*args)
        except ValueError as error:
            raise _fault(self.path, self.lines[row], first_line(error)) from error


def _fault(path: Path, line: int, problem: str) -> ValueError:
    return ValueError(f"{path}, line {line}: {problem}")


def read_sheet(path: Path) -> Sheet:
    """Read a file of this format."""
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _fault(path, line, "no UTF-8 text; save the table as CSV in UTF-8") from error
    lines = io.StringIO(text, newline=None).readlines()
    rows = (i for i, line in enumerate(lines) if line.strip() and not line.startswith("#"))
    above = next(rows, len(lines))
    provenance, targets = _read_above(path, lines[:above])
    columns, numbers = _read_rows(path, lines[above:], above)
    return Sheet(path, hashlib.sha256(data).hexdigest(), provenance, targets, columns, numbers)


def _read_above(path: Path, lines: Sequence[str]) -> tuple[dict[str, str], tuple[Target, ...]]:
    """Provenance and targets, from the lines above the header."""
    provenance: dict[str, str] = {}
    targets: dict[str, Target] = {}
    for number, line in enumerate(lines, 1):
        match = _KEYED.fullmatch(line.strip())
        key, value = match.groups() if match else ("notes", line.strip().lstrip("# "))
        value = legible(value)
        parts = [part.strip() for part in value.split("|")]
        if key == "target":
            if len(parts) != 3 or not parts[0] or parts[2] not in get_args(Training):
                problem = f"target {shown(value)} is wrong; write {_TARGET_FORM}"
                raise _fault(path, number, problem)
            if parts[0] in targets:
                raise _fault(path, number, f"target {shown(parts[0])} is there twice; keep one")
            targets[parts[0]] = Target(parts[0], parts[1], cast("Training", parts[2]))
        elif key == "noise_ceiling":
            if parts[0] not in targets:
                problem = f"noise_ceiling of {shown(parts[0])}, which is no target above"
                advice = hint(parts[0], targets) if targets else f"first write {_TARGET_FORM}"
                raise _fault(path, number, f"{problem}; {advice}")
            if not -1 <= (ceiling := _number(parts[-1])) <= 1:
                problem = f"noise_ceiling {shown(value)} is wrong; write {_CEILING_FORM}"
                raise _fault(path, number, f"{problem}, TAU from -1 to 1")
            targets[parts[0]] = replace(targets[parts[0]], noise_ceiling=ceiling)
        elif value:
            provenance[key] = f"{provenance[key]} {value}" if key in provenance else value
    return provenance, tuple(targets.values())


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _read_rows(
    path: Path, lines: Sequence[str], above: int
) -> tuple[dict[str, list[str]], list[int]]:
    """The columns, and the line of each row; ``above`` lines of the file come before."""
    reader = csv.reader(lines, strict=True)
    rows: list[tuple[int, list[str]]] = []
    line = above + 1  # where the row starts: a quoted cell may span several lines
    try:
        for cells in reader:
            stripped = read_cells(cell.strip() for cell in cells)
            if any(stripped):
                rows.append((line, stripped))
            line = above + reader.line_num + 1
    except csv.Error as error:
        raise _fault(path, line, f"no CSV: {error}") from error
    if not rows:
        raise ValueError(f"{path} is empty; a table has a header and a row for each architecture")
    number, header = rows.pop(0)
    names = [legible(name) for name in header]
    for name in names:
        if name and names.count(name) > 1:
            raise _fault(path, number, f"column {shown(name)} is there twice; rename one")
    if len(names) == 1 and any(mark in header[0] for mark in ";\t"):
        problem = f"header {shown(names[0])} has no commas; separate columns by commas"
        raise _fault(path, number, problem)
    for line, cells in rows:
        if len(cells) != len(names):
            problem = f"{len(cells)} cells under a header of {len(names)}"
            raise _fault(path, line, f"{problem}; quote cells that hold commas")
    # A column without a name is an index, as pandas writes it.
    columns = {name: [of[i] for _, of in rows] for i, name in enumerate(names) if name}
    return columns, [line for line, _ in rows]


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

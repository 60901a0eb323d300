"""What the columns of a table mean: which name the architecture, and which are accuracies."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from asvit.reference.schema import Row, Sheet
from asvit.reference.table import LEAST_ROWS, Target, Training
from proxies.messages import hint, listed, one_line, shown

Cells = Mapping[str, str]

_SEPARATORS = re.compile(r"[\s,;]+")
_YES, _NO = ("true", "1", "yes"), ("false", "0", "no", "")


@dataclass(frozen=True)
class Layout:
    """One way of naming architectures.

    Attributes:
        columns: Columns that such a table has.
        text: Cells of a row -> architecture text.
        num_classes: Number of classes unless the file says otherwise.
    """

    columns: tuple[str, ...]
    text: Callable[[Cells], str]
    num_classes: int = 1000


def _pit(cells: Cells) -> str:
    depths, heads = _entries(cells["depth"]), _entries(cells["num_heads"])
    return f"pit:{cells['base_dim']},{cells['mlp_ratio']}|{','.join(depths)}|{','.join(heads)}"


def _autoformer(cells: Cells) -> str:
    heads, ratios = _entries(cells["num_heads"]), _entries(cells["mlp_ratio"])
    if cells["depth"] != str(len(heads)):
        raise ValueError(
            f"depth {shown(cells['depth'])} with num_heads for {len(heads)} blocks; "
            "give a number of heads and a ratio for every block"
        )
    return f"autoformer:{cells['hidden_dim']}|{','.join(heads)}|{','.join(ratios)}"


def _entries(cell: str) -> list[str]:
    """The entries of a list in one cell, ``2 8 4`` or ``[2, 8, 4]``."""
    return [entry for entry in _SEPARATORS.split(cell.strip("[]()")) if entry]


#: Tried in this order.
LAYOUTS = (
    Layout(("architecture",), lambda cells: cells["architecture"]),
    Layout(("base_dim", "mlp_ratio", "depth", "num_heads"), _pit, num_classes=100),
    Layout(("hidden_dim", "mlp_ratio", "depth", "num_heads"), _autoformer, num_classes=100),
    Layout(("arch",), lambda cells: cells["arch"]),
    Layout(("model",), lambda cells: cells["model"]),
)


def find_layout(sheet: Sheet) -> tuple[Layout, Sheet]:
    """How a sheet names its architectures, and the sheet without the rows to ignore.

    A column ``primary`` selects the rows in which it is true. If several of them share an
    ``arch``, as weights of different recipes do, ``model`` names the architecture if there is one.

    Raises:
        ValueError: If the sheet follows no layout, or ``primary`` is neither true nor false.
    """
    layout = next((one for one in LAYOUTS if set(one.columns) <= set(sheet.columns)), None)
    if layout is None:
        raise ValueError(
            f"{sheet.path} has no column 'architecture', only {listed(sheet.columns)}; "
            "docs/reference.md lists the columns of a table"
        )
    if layout.columns == ("architecture",):
        return layout, sheet
    if "primary" in sheet.columns:
        sheet = replace(sheet, rows=tuple(row for row in sheet.rows if _is_primary(sheet, row)))
    if layout.columns == ("arch",) and "model" in sheet.columns:
        most = Counter(row.cells["arch"] for row in sheet.rows).most_common(1)
        if most and most[0][1] > 1:
            layout = LAYOUTS[-1]
    return layout, sheet


def _is_primary(sheet: Sheet, row: Row) -> bool:
    text = row.cells["primary"].lower()
    if text not in _YES + _NO:
        raise sheet.fault(row, f"primary {shown(row.cells['primary'])} is neither True nor False")
    return text in _YES


#: Columns that are never accuracies, in lower case.
_OTHERS = frozenset(
    {
        *("architecture", "arch", "model", "name", "tag", "module", "kind", "space", "dataset"),
        *("source", "date", "note", "notes", "idx", "index", "id", "number", "row", "primary"),
        *("image_size", "img_size", "resolution", "eval224_256", "seed", "seeds", "epochs"),
        *("params", "params_m", "macs", "macs_m", "gmacs", "flops", "flops_g", "gflops"),
        *("base_dim", "hidden_dim", "mlp_ratio", "depth", "depths", "num_heads", "heads", "width"),
    }
)
_OTHER_ENDS = ("_std", "_spread", "_seed")
_ACCURACY = re.compile(r"(.*_)?(acc|accuracy|top1|top_1|top5|top_5)(_.*)?")
_NO_VALUE = ("", "nan", "na", "n/a", "-")


def find_targets(sheet: Sheet) -> tuple[Target, ...]:
    """The targets that the file declares, or else those guessed from its columns.

    Without ``# target`` lines, a column is a target if its name is not a known other one and it
    either is named like an accuracy (``accuracy``, ``acc``, ``top1``, ``..._acc``) or holds
    numbers from 0 to 100 in at least half of its cells.

    Raises:
        ValueError: If the file declares a column that it does not have, or none can be guessed.
    """
    for target in sheet.targets:
        if target.name not in sheet.columns:
            raise ValueError(
                f"{sheet.path} has no column {shown(target.name)}, which it names as a target; "
                f"{hint(target.name, sheet.columns)}"
            )
    if sheet.targets:
        return sheet.targets
    found = [name for name in sheet.columns if _is_accuracy(sheet, name)]
    if not found:
        raise ValueError(
            f"{sheet.path} has no column of accuracies, only {listed(sheet.columns)}; "
            "call one accuracy, or name it in a line '# target: NAME | description | unknown'"
        )
    return tuple(Target(name, name, training_of(name)) for name in found)


def find_default(sheet: Sheet, targets: Sequence[Target]) -> str:
    """The default target that the file declares, or else the most likely one.

    The most likely one is the first named like an accuracy that is not known to be distilled or
    inherited; if there is none, the first of all.

    Raises:
        ValueError: If the file declares one that it does not have.
    """
    names = [target.name for target in targets]
    default = sheet.provenance.get("default_target")
    if default is None:
        plain = [t.name for t in targets if t.training in ("scratch", "unknown")]
        return next((name for name in plain if _ACCURACY.fullmatch(name.lower())), names[0])
    if default not in names:
        raise ValueError(
            f"{sheet.path} names {shown(default)} as its default target; {hint(default, names)}"
        )
    return default


def training_of(name: str) -> Training:
    """How the networks were trained, as far as the name of the column says."""
    words = set(name.lower().split("_"))
    if words & {"kd", "distilled", "distill"}:
        return "distilled"
    if words & {"super", "supernet", "inherited"}:
        return "inherited"
    return "scratch" if words & {"base", "scratch"} else "unknown"


def read_accuracies(sheet: Sheet, target: Target) -> tuple[float, ...]:
    """The accuracies of a column in per cent, NaN where a cell is empty.

    If no value of a column is above 1, they are taken as fractions and multiplied by 100.

    Raises:
        ValueError: If a cell is not a number from 0 to 100, or fewer than 5 rows have one.
    """
    values = tuple(_read_accuracy(sheet, row, target.name) for row in sheet.rows)
    known = [value for value in values if not math.isnan(value)]
    if len(known) < LEAST_ROWS:
        raise ValueError(
            f"{sheet.path} has {len(known)} row(s) with a value of {shown(target.name)}; "
            f"a ranking needs at least {LEAST_ROWS}"
        )
    if max(known) > 1:
        return values
    return tuple(100 * value for value in values)


def read_whole(sheet: Sheet, row: Row, name: str, *, example: str, below: float = math.inf) -> int:
    """Read a cell that must hold a whole number above 0.

    Args:
        sheet: The table.
        row: The row of the cell.
        name: Its column.
        example: A valid cell, for the message.
        below: Upper bound, exclusive.

    Raises:
        ValueError: If it does not; one line with a valid example.
    """
    text = row.cells[name]
    value = as_number(text)
    if value is None or not value.is_integer() or not 1 <= value < below:
        raise sheet.fault(
            row, f"{one_line(name)} {shown(text)} is no whole number above 0; write {example}"
        )
    # Through float only where it was written as one: floats are exact up to 2**53.
    return int(text) if text.isdecimal() else int(value)


def as_number(text: str) -> float | None:
    """The number in a cell: NaN for an empty one, None for other text."""
    if text.lower() in _NO_VALUE:
        return math.nan
    try:
        value = float(text)
    except ValueError:
        return None
    # float() accepts underscores, which no table means.
    return None if "_" in text else value


def _is_accuracy(sheet: Sheet, name: str) -> bool:
    lower = name.lower()
    if lower in _OTHERS or lower.endswith(_OTHER_ENDS):
        return False
    if _ACCURACY.fullmatch(lower):
        return True
    filled = [text for row in sheet.rows if (text := row.cells[name]).lower() not in _NO_VALUE]
    fitting = [n for text in filled if (n := as_number(text)) is not None and 0 <= n <= 100]
    return bool(fitting) and 2 * len(fitting) >= len(filled)


def _read_accuracy(sheet: Sheet, row: Row, name: str) -> float:
    text = row.cells[name]
    value = as_number(text)
    if value is None or (not math.isnan(value) and not 0 <= value <= 100):
        raise sheet.fault(
            row,
            f"{one_line(name)} {shown(text)} is no accuracy; write a number from 0 to 100 "
            "(per cent), or nothing",
        )
    return value

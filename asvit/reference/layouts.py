"""How a row names its architecture: by a text, or by columns as benchmarks publish them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from asvit.reference.schema import Row, Sheet
from proxies.messages import listed, shown

Cells = Mapping[str, str]

_SEPARATORS = re.compile(r"[\s,;]+")
_YES, _NO = ("true", "1", "yes"), ("false", "0", "no", "")


@dataclass(frozen=True)
class Layout:
    """One way of naming architectures.

    Attributes:
        columns: What a header has that follows it.
        text: Cells of a row -> architecture text.
        num_classes: Classes of the networks where the file does not say.
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
    """How a sheet names its architectures, and the rows of it that count.

    Where there is a column ``primary``, those are the rows in which it is true. Where several of
    them have the same ``arch`` but there is a ``model``, as for weights of other recipes, the
    latter is the name.

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

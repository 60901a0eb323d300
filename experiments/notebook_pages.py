"""Runs the notebooks and writes them with their output as pages of the docs.

Run from a checkout: ``python -m experiments.notebook_pages``. It does not need Jupyter: cells are
plain Python, run in order in one namespace, and a page shows the value of each cell's last
expression.
"""

import argparse
import ast
import contextlib
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from asvit.report.pictures import Picture
from experiments.tables import markdown

NOTEBOOKS = Path(__file__).parent / "notebooks"
PARAMETERS = "parameters"  # tag of the cell whose values can be replaced


@dataclass(frozen=True)
class Cell:
    """A cell of a notebook, and its output.

    Attributes:
        kind: ``"markdown"`` or ``"code"``.
        source: Its text.
        tags: Its tags.
        printed: Its printed output.
        value: The value of its last expression; None without one.
    """

    kind: str
    source: str
    tags: tuple[str, ...] = ()
    printed: str = ""
    value: Any = field(default=None, compare=False)


def read(name: str) -> list[Cell]:
    """Read the cells of a notebook without running them."""
    content = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8"))
    return [
        Cell(cell["cell_type"], "".join(cell["source"]), tuple(cell["metadata"].get("tags", ())))
        for cell in content["cells"]
    ]


def run(name: str, parameters: Mapping[str, Any] | None = None) -> Iterator[Cell]:
    """Run a notebook cell by cell.

    Args:
        name: Name of the notebook.
        parameters: Replacements of values in the cell tagged ``parameters``.

    Raises:
        KeyError: If that cell does not define one of them.
    """
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for cell in read(name):
        if cell.kind != "code":
            yield cell
            continue
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            value = _execute(cell.source, namespace)
        if PARAMETERS in cell.tags:
            for key, replacement in (parameters or {}).items():
                if key not in namespace:
                    raise KeyError(f"notebook {name} has no parameter {key!r}")
                namespace[key] = replacement
        yield Cell(cell.kind, cell.source, cell.tags, printed.getvalue(), value)


def page(name: str, cells: Iterator[Cell], folder: Path) -> str:
    """The page of a notebook as Markdown; pictures are written to ``folder/images``."""
    parts = []
    for number, cell in enumerate(cells):
        if cell.kind != "code":
            parts.append(cell.source)
            continue
        parts.append(f"```python\n{cell.source}\n```")
        if cell.printed:
            parts.append(f"```\n{cell.printed.rstrip()}\n```")
        if cell.value is not None:
            parts.append(_shown(cell.value, folder, f"{name}-{number:02d}"))
    made = (
        f"This page was made by `python -m experiments.notebook_pages` from "
        f"[{name}.ipynb](../../experiments/notebooks/{name}.ipynb); with "
        "`pip install '.[notebooks]'`, `jupyter lab` opens that."
    )
    return "\n\n".join([*parts, f"*{made}*"]) + "\n"


def _execute(source: str, namespace: dict[str, Any]) -> Any:
    """Run ``source``; returns the value of its last statement if that is an expression."""
    tree = ast.parse(source)
    last = tree.body[-1] if tree.body else None
    if not isinstance(last, ast.Expr):
        exec(compile(tree, "<cell>", "exec"), namespace)
        return None
    tree.body.pop()
    exec(compile(tree, "<cell>", "exec"), namespace)
    return eval(compile(ast.Expression(last.value), "<cell>", "eval"), namespace)


def _shown(value: Any, folder: Path, name: str) -> str:
    """``value`` as Markdown."""
    if isinstance(value, pd.DataFrame):
        if not pd.api.types.is_integer_dtype(value.index.dtype):
            value = value.rename_axis("").reset_index()
        columns = {
            str(name): "r" if pd.api.types.is_numeric_dtype(value[name]) else "l" for name in value
        }
        rows = [tuple(map(_cell, row)) for row in value.itertuples(index=False)]
        return markdown(columns, rows)
    if not isinstance(value, Picture):
        return f"```\n{value!r}\n```"
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "images" / f"{name}.svg").write_text(value.svg, encoding="utf-8")
    return f"![{value.title}](images/{name}.svg)"


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if value.is_integer() and abs(value) >= 1000 else f"{value:.4g}"
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else str(value)


def main() -> None:
    """Run the notebooks with their own parameters, and write their pages."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "names", nargs="*", default=sorted(p.stem for p in NOTEBOOKS.glob("*.ipynb"))
    )
    parser.add_argument("--out", type=Path, default=Path("docs/notebooks"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.names:
        print(f"running {name}.ipynb", flush=True)
        text = page(name, run(name), options.out)
        (options.out / f"{name}.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

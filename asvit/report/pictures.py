"""A figure with its title, caption and rows; its files and its place on a page follow."""

from __future__ import annotations

import io
import pickle
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field, fields
from functools import cached_property, partial
from itertools import chain
from typing import TYPE_CHECKING, Any, get_type_hints

from asvit.core.tables import csv_text
from asvit.report.style import style

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Picture:
    """A figure, drawn when it is first needed."""

    name: str  # name of its files, without their ending
    title: str
    caption: str  # how to read it
    draw: Callable[[], Figure] = field(compare=False, repr=False)  # makes the figure
    # Its rows, and their class.
    data: tuple[Sequence[DataclassInstance], type[DataclassInstance]] = field(repr=False)
    wide: bool = False  # takes the whole width of a page

    def __getstate__(self) -> dict[str, Any]:
        """Pickled with its figure: what draws that may be a local function."""
        with self._styled() as figure:
            return {**self.__dict__, "draw": partial(pickle.loads, pickle.dumps(figure))}

    @cached_property
    def svg(self) -> str:
        """The figure as its file holds it."""
        from matplotlib.backends.backend_svg import FigureCanvasSVG

        buffer = io.StringIO()
        with self._styled() as figure:
            # No date and no version: the same run gives the same file. `savefig` draws it twice.
            canvas: Any = FigureCanvasSVG(figure)
            canvas.print_svg(buffer, metadata={"Date": None, "Creator": None})
        return buffer.getvalue()

    def savefig(self, file: Any, **options: Any) -> None:
        """Draw the figure and write it, as matplotlib's ``Figure.savefig`` does.

        Args:
            file: Path, whose suffix selects the format (``.png``, ``.pdf``, ``.svg``), or an open
                file.
            **options: Of matplotlib: ``dpi``, ``format`` and others.
        """
        with self._styled() as figure:
            figure.savefig(file, **options)

    @contextmanager
    def _styled(self) -> Iterator[Figure]:
        """The figure, under the settings to write it with."""
        with style(self.name), warnings.catch_warnings():
            # A viewer may lack the font that the text was laid out with.
            warnings.filterwarnings("ignore", r"Glyph .* missing from font")
            # Long names may leave no room for axes; the page also has them as text.
            warnings.filterwarnings("ignore", "constrained_layout not applied")
            yield self.draw()

    @property
    def csv(self) -> str:
        """The rows of the figure under the names of their fields; an interval has two columns."""
        rows, kind = self.data
        hints = get_type_hints(kind)
        names = (_columns(column.name, hints[column.name]) for column in fields(kind))
        cells = (chain.from_iterable(map(_cells, astuple(row))) for row in rows)
        text = csv_text([chain.from_iterable(names), *cells])
        # JSON can hold lone surrogates, which UTF-8 cannot encode.
        return text.encode("utf-8", "backslashreplace").decode("utf-8")

    def _repr_svg_(self) -> str:
        """How a notebook shows it."""
        return self.svg


def _columns(name: str, declared: Any) -> list[str]:
    """The columns of a field: one for each part of a named tuple, such as an interval's ends."""
    parts = getattr(declared, "_fields", None)
    return [name] if parts is None else [f"{name}_{part}" for part in parts]


def _cells(value: Any) -> tuple[Any, ...]:
    """The cells of the value of a field, as :func:`_columns` has them."""
    return tuple(value) if hasattr(value, "_fields") else (value,)

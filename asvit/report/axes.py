"""What the figures of all kinds of runs do to their axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from asvit.report.style import COLOUR

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure


def dots(axes: Axes, x: Sequence[float], y: Sequence[float]) -> None:
    """Single observations, faint enough to show where they crowd."""
    few = len(x) <= 60
    axes.scatter(
        x, y, color=COLOUR["first"], s=20 if few else 9, linewidths=0, alpha=0.8 if few else 0.5
    )


def log_scale(axes: Axes, which: Literal["x", "y"], values: Sequence[float]) -> None:
    """Make one axis logarithmic, with plain numbers, when ``values`` span more than a decade."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    if not values or min(values) <= 0 or max(values) <= 10 * min(values):
        return
    axes.set(**{f"{which}scale": "log"})
    axis: Axis = getattr(axes, f"{which}axis")
    wide = max(values) > 1000 * min(values)
    axis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: _plain(value)))
    axis.set_minor_formatter(NullFormatter())


def count_steps(axes: Axes) -> None:
    """Label the horizontal axis with whole steps."""
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(
        MaxNLocator(nbins=8, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1)
    )


def legend(figure: Figure) -> None:
    """Say below the axes of ``figure``, clear of what they show, what their lines and points are.

    What has the same name in several axes is named once.
    """
    named: dict[str, Artist] = {}
    for axes in figure.axes:
        handles, names = axes.get_legend_handles_labels()
        named = dict(zip(names, handles, strict=True)) | named
    if not named:
        return
    one_line = len(named) == 1 or sum(map(len, named)) + 6 * len(named) <= 66
    figure.legend(
        list(named.values()),
        list(named),
        loc="outside lower center",
        ncols=len(named) if one_line else math.ceil(len(named) / 2),
        handletextpad=0.4,
        columnspacing=1.4,
    )


def _plain(value: float) -> str:
    """A number as an axis has it: 0.02, 500, 20,000, 3M, 5G."""
    for unit, letter in ((1e9, "G"), (1e6, "M")):
        if value >= unit:
            return f"{value / unit:,.6g}{letter}"
    return f"{value:,.6g}"

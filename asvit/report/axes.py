"""What the figures of all kinds of runs do to their axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from asvit.report.style import COLOUR

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis


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


def legend(axes: Axes) -> None:
    """Say below the axes of a figure, clear of what they show, what the lines of ``axes`` are."""
    figure = axes.get_figure(root=True)
    handles, names = axes.get_legend_handles_labels()
    if figure is not None:
        figure.legend(
            handles,
            names,
            loc="outside lower center",
            ncols=2 if sum(map(len, names)) > 60 else max(1, len(names)),
            handletextpad=0.4,
            columnspacing=1.4,
        )


def _plain(value: float) -> str:
    """A number as an axis has it: 0.02, 500, 20,000, 3M, 5G."""
    for unit, letter in ((1e9, "G"), (1e6, "M")):
        if value >= unit:
            return f"{value / unit:,.6g}{letter}"
    return f"{value:,.6g}"

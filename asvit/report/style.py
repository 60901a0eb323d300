"""The style of figures: a palette by role, text as text, the same bytes for the same rows.

A figure is drawn once, dark on a light background. The dark theme of a report inverts it
(page.css).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from proxies.text import one_line

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

T = TypeVar("T")

# Role -> colour. Lines have a contrast of 3 to the card, and texts, which are ink or muted, 4.5.
COLOUR = {
    "card": "#fefefe",
    "ink": "#1f2429",
    "muted": "#66707b",
    "grid": "#e3e7eb",
    "first": "#2862a5",
    "second": "#bd5519",
    "bad": "#b3243b",
    # Unordered series; they differ in lightness for greyscale and colour-blind readers.
    "series1": "#180d50",
    "series2": "#af539b",
    "series3": "#a33512",
    "series4": "#af8e13",
    "level0": "#dfeaf4",
    "level1": "#93bade",
    "level2": "#6499cb",
    "level3": "#447cb3",
    "level4": "#1f5187",
}
SMALL = 9  # points, 12 pixels: the smallest text of a figure
# The first comes with matplotlib, so that layouts are the same everywhere; the other is as wide.
FONTS = ["DejaVu Sans", "Verdana"]

LABELS = {
    "length_distortion": "length distortion",
    "ntk_condition_number": "NTK condition number",
    "extrinsic_curvature": "extrinsic curvature",
    "gauss_map_length": "Gauss-map length",
    "params": "parameters",
    "macs": "multiply-adds",
}

LONGEST = 40  # characters of a name that a figure has room for
MOST_DOTS = 2000  # of a scatter; of more, evenly spaced ones are drawn


def label(measure: str) -> str:
    """The display name of ``measure``."""
    return LABELS.get(measure) or one_line(measure.replace("_", " "), most=LONGEST)


def levels(count: int) -> list[str]:
    """``count`` colours from faint to strong, for choices or times that have an order."""
    shades = [COLOUR[f"level{i}"] for i in range(5)]
    if count <= 1:
        return shades[3:4] * count
    return [shades[round(i * (len(shades) - 1) / (count - 1))] for i in range(count)]


def series_styles() -> list[tuple[str, Any, str]]:
    """Colour, line and marker of 16 series: where a colour comes again, the others are new.

    Of the first four each of the three is different in each series.
    """
    lines: list[Any] = ["-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5))]
    colours = [COLOUR[f"series{place}"] for place in range(1, 5)]
    marks = "os^D"
    return [
        (colour, lines[(place + turn) % 4], marks[(place + turn) % 4])
        for turn in range(4)
        for place, colour in enumerate(colours)
    ]


def style(salt: str) -> AbstractContextManager[None]:
    """Settings under which a figure is made and saved; ``salt`` goes into its SVG ids."""
    import matplotlib as mpl

    settings: Any = {
        "figure.facecolor": COLOUR["card"],
        "axes.facecolor": "none",
        "savefig.facecolor": "auto",
        "axes.edgecolor": COLOUR["muted"],
        "axes.labelcolor": COLOUR["muted"],
        "axes.titlecolor": COLOUR["ink"],
        "axes.titlesize": 10,
        "axes.titlelocation": "left",
        "axes.labelsize": SMALL,
        "axes.linewidth": 0.8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": COLOUR["grid"],
        "grid.linewidth": 0.8,
        "text.color": COLOUR["ink"],
        "xtick.color": COLOUR["muted"],
        "ytick.color": COLOUR["muted"],
        "xtick.labelsize": SMALL,
        "ytick.labelsize": SMALL,
        "font.family": "sans-serif",
        "font.sans-serif": FONTS,
        "legend.frameon": False,
        "legend.fontsize": SMALL,
        "lines.linewidth": 1.6,
        "text.parse_math": False,  # names may have dollar signs
        "svg.fonttype": "none",
        "svg.hashsalt": salt,
    }
    return mpl.rc_context(settings)


def figure(width: float = 5.2, height: float = 2.9) -> Figure:
    """An empty figure of ``width`` by ``height`` inches, outside pyplot's global state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def note(axes: Axes, text: str) -> None:
    """Write in the middle of ``axes`` why there is nothing to see."""
    axes.set_axis_off()
    axes.text(
        0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=COLOUR["muted"]
    )


def empty(text: str, **size: float) -> Figure:
    """A figure that only says why there is nothing to see."""
    fig = figure(**size)
    note(fig.subplots(), text)
    return fig


def dots(axes: Axes, x: Sequence[float], y: Sequence[float], **look: Any) -> None:
    """Scatter single observations, faint enough to show where they crowd; of very many, some.

    ``look`` overrides arguments of matplotlib's ``scatter``.
    """
    few, every = len(x) <= 60, len(x)
    if every > MOST_DOTS:
        x, y = (thinned(values, MOST_DOTS) for values in (x, y))
        axes.set_title(f"{MOST_DOTS:,} of {every:,} points", loc="right", fontsize=SMALL)
    usual = {"color": COLOUR["first"], "s": 20 if few else 9, "alpha": 0.8 if few else 0.5}
    axes.scatter(x, y, **{"linewidths": 0, **usual, **look})


def log_scale(axes: Axes, which: Literal["x", "y"], values: Sequence[float]) -> None:
    """Make an axis logarithmic, with plain numbers, if ``values`` span more than a decade."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    if not values or min(values) <= 0 or max(values) <= 10 * min(values):
        return
    axes.set(**{f"{which}scale": "log"})
    axis: Axis = getattr(axes, f"{which}axis")
    wide = max(values) > 1000 * min(values)
    axis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(_plain))
    axis.set_minor_formatter(NullFormatter())


def whole(axis: Axis, **settings: Any) -> None:
    """Put the ticks of an axis at whole numbers."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, **settings))


def count_steps(axes: Axes) -> None:
    """Label the horizontal axis with whole steps."""
    axes.set_xlabel("step")
    whole(axes.xaxis, nbins=8, steps=[1, 2, 5, 10])


def remark(
    axes: Axes, text: str, at: tuple[float, float], offset: tuple[float, float], **options: Any
) -> None:
    """Write ``text`` ``offset`` points from ``at`` on ``axes``."""
    settings: Any = {"textcoords": "offset points", "fontsize": SMALL, "color": COLOUR["muted"]}
    axes.annotate(text, at, xytext=offset, **settings, **options)


def pairs(rows: Sequence[object], x: str, y: str) -> tuple[list[Any], list[Any]]:
    """The values of two fields of rows."""
    return [getattr(row, x) for row in rows], [getattr(row, y) for row in rows]


def panels(fig: Figure, count: int, *, columns: int, **shared: Any) -> list[Axes]:
    """``count`` axes in lines of ``columns``; the rest of the last line stays empty."""
    lines = math.ceil(count / columns)
    grid: list[Axes] = fig.subplots(lines, columns, squeeze=False, **shared).ravel().tolist()
    for axes in grid[count:]:
        axes.set_axis_off()
    return grid[:count]


def legend(figure: Figure) -> None:
    """Put one legend for all axes below them; names in several axes are listed once."""
    by_name: dict[str, Artist] = {}
    for axes in figure.axes:
        handles, names = axes.get_legend_handles_labels()
        by_name = dict(zip(names, handles, strict=True)) | by_name
    if not by_name:
        return
    single = len(by_name) == 1 or sum(map(len, by_name)) + 6 * len(by_name) <= 66
    figure.legend(
        list(by_name.values()),
        list(by_name),
        loc="outside lower center",
        ncols=len(by_name) if single else math.ceil(len(by_name) / 2),
        handletextpad=0.4,
        columnspacing=1.4,
    )


def _plain(value: float, _place: int | None = None) -> str:
    """A tick label: 0.02, 500, 20,000, 3M, 5G."""
    for unit, letter in ((1e9, "G"), (1e6, "M")):
        if value >= unit:
            return f"{value / unit:,.6g}{letter}"
    return f"{value:,.6g}"


def draw_series(rows: Sequence[Any], draw: Callable[..., None], *, each: float) -> Figure:
    """Every measure of ``rows`` over steps, one below the other, ``each`` inches high.

    ``draw`` is called with the axes of a measure, its rows, and those with a finite value.
    """
    series = {name: list(group) for name, group in groupby(rows, key=lambda row: row.measure)}
    if not series:
        return empty("nothing has been measured yet", height=2.2)
    fig = figure(height=max(2.2, each * len(series)))
    lines = panels(fig, len(series), columns=1, sharex=True)
    for axes, (name, group) in zip(lines, series.items(), strict=True):
        axes.set_title(label(name))
        good = [row for row in group if math.isfinite(row.value)]
        draw(axes, group, good)
        log_scale(axes, "y", [row.value for row in good])
    count_steps(lines[-1])
    legend(fig)
    return fig


def thinned(rows: Sequence[T], most: int) -> Sequence[T]:
    """At most ``most`` of ``rows``, evenly spaced, the first and the last among them."""
    last = len(rows) - 1
    if last < most:
        return rows
    return [rows[round(place * last / (most - 1))] for place in range(most)]

"""How figures look: one palette by role, text kept as text, the same bytes for the same rows.

A figure names colours by role. The files on disk carry the light values; the HTML report puts a
CSS variable in the place of each value, so that the page's light and dark themes colour the
figures too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Role -> (light, dark). Every light value is used by one role only: the report finds it by value.
PALETTE = {
    "card": ("#fefefe", "#161b22"),
    "ink": ("#1f2429", "#e4e8ec"),
    "muted": ("#66707b", "#98a2ad"),
    "grid": ("#e3e7eb", "#2b323a"),
    "first": ("#2862a5", "#6ba6e8"),
    "second": ("#bd5519", "#ee9a5c"),
    "bad": ("#b3243b", "#f2788a"),
    "level0": ("#dfeaf4", "#2a3b4d"),
    "level1": ("#93bade", "#42698f"),
    "level2": ("#6499cb", "#5586b5"),
    "level3": ("#447cb3", "#6d9fcd"),
    "level4": ("#1f5187", "#a9ccee"),
}
COLOUR = {role: light for role, (light, _) in PALETTE.items()}
SMALL = 9  # points, 12 pixels: the smallest text of a figure
FONT = "DejaVu Sans"  # comes with matplotlib, so that layouts are the same everywhere
ALIKE = "Verdana, sans-serif"  # as wide, for screens without it


def levels(count: int) -> list[str]:
    """``count`` colours from faint to strong, for choices or times that have an order."""
    shades = [COLOUR[f"level{i}"] for i in range(5)]
    if count <= 1:
        return shades[3:4] * count
    return [shades[round(i * (len(shades) - 1) / (count - 1))] for i in range(count)]


@contextmanager
def style(salt: str) -> Iterator[None]:
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
        "font.family": FONT,
        "legend.frameon": False,
        "legend.fontsize": SMALL,
        "lines.linewidth": 1.6,
        "text.parse_math": False,  # a dollar sign in a name is one
        "svg.fonttype": "none",
        "svg.hashsalt": salt,
    }
    with mpl.rc_context(settings):
        yield


def figure(width: float = 5.2, height: float = 2.9) -> Figure:
    """An empty figure of ``width`` by ``height`` inches, owned by nobody's global state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def note(axes: Axes, text: str) -> None:
    """Say in the middle of ``axes`` why there is nothing to see."""
    axes.set_axis_off()
    axes.text(
        0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=COLOUR["muted"]
    )

"""A figure of how alike the attention heads of a network are."""

import io
import math
from collections.abc import Mapping

from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from torch import Tensor

from asvit.report.style import COLOUR, LONGEST, SMALL, figure, levels, panels, style, whole
from proxies.activations import pair_mean
from proxies.text import one_line

COLUMNS = 4  # panels side by side
LEVELS = 5


def draw_similarities(similarities: Mapping[str, Tensor]) -> Figure:
    """Head against head, a panel for every attention, titled with the mean over pairs.

    Args:
        similarities: What :func:`proxies.activations.head_similarities` gives.
    """
    wide = min(COLUMNS, len(similarities))
    lines = math.ceil(len(similarities) / wide)
    chart = figure(width=1.0 + 1.9 * wide, height=0.3 + 2.0 * lines)
    grid = panels(chart, len(similarities), columns=wide)
    for axes, (name, values) in zip(grid, similarities.items(), strict=True):
        mean = f"  {pair_mean(values):.2f}" if len(values) > 1 else ""
        axes.set_title(f"{one_line(name, most=LONGEST)}{mean}", fontsize=SMALL)
        axes.grid(False)
        heads = range(len(values))
        mesh = axes.pcolormesh(
            heads,
            heads,
            values.tolist(),
            # Colours of the palette and none between them, which follow the theme of a page.
            cmap=ListedColormap(levels(LEVELS)),
            vmin=0,
            vmax=1,
            edgecolors=COLOUR["card"],
            linewidth=0.5,
            shading="nearest",
        )
        axes.set_aspect("equal")
        axes.invert_yaxis()
        for axis in (axes.xaxis, axes.yaxis):
            whole(axis, nbins=4)
    chart.colorbar(mesh, ax=chart.axes, shrink=0.8, aspect=24, label="cosine of the maps' rows")
    return chart


def similarity_svg(similarities: Mapping[str, Tensor]) -> str:
    """The figure as an SVG file, the same for the same similarities."""
    text = io.StringIO()
    with style("head_similarity"):
        chart = draw_similarities(similarities)
        chart.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return text.getvalue()

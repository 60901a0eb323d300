"""How alike the attention heads of a network are: rows, and a picture of every attention."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from asvit.report.pictures import Picture
from asvit.report.style import COLOUR, LONGEST, SMALL, figure, levels, note
from proxies.messages import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh
    from matplotlib.figure import Figure
    from torch import Tensor

COLUMNS = 4  # panels side by side
_LEVELS = 5


@dataclass(frozen=True)
class SimilarityRow:
    """Two heads of one attention.

    Attributes:
        attention: Name of the module.
        first: One head, from 0.
        second: The other, or the same.
        similarity: Mean cosine of the rows of their maps.
    """

    attention: str
    first: int
    second: int
    similarity: float


def similarity_rows(similarities: Mapping[str, Tensor]) -> list[SimilarityRow]:
    """What :func:`proxies.activations.head_similarities` gives, as rows."""
    return [
        SimilarityRow(name, i, j, value)
        for name, similarity in similarities.items()
        for i, line in enumerate(similarity.tolist())
        for j, value in enumerate(line)
    ]


def similarity_picture(similarities: Mapping[str, Tensor]) -> Picture:
    """Draw what :func:`proxies.activations.head_similarities` gives."""
    rows = similarity_rows(similarities)
    return Picture(
        "head_similarity",
        "Similarity of attention heads",
        "Every head of an attention against every other: the cosine between the rows of their "
        "maps, after the softmax, in the mean over queries and images. Beside the name of each "
        "attention, the mean over its pairs of heads; the mean of these is the contribution "
        "cosine similarity. Lower is less redundant.",
        lambda: draw_similarity(rows),
        (rows, SimilarityRow),
        wide=True,
    )


def draw_similarity(rows: Sequence[SimilarityRow]) -> Figure:
    """Head against head, a panel for every attention, titled with the mean over pairs."""
    panels = {name: list(group) for name, group in groupby(rows, key=lambda row: row.attention)}
    wide = min(COLUMNS, max(1, len(panels)))
    lines = math.ceil(len(panels) / wide) or 1
    made = figure(width=1.0 + 1.9 * wide, height=0.3 + 2.0 * lines)
    if not panels:
        note(made.subplots(), "no attention has heads to compare")
        return made
    grid = made.subplots(lines, wide, squeeze=False).ravel().tolist()
    for axes, (name, group) in zip(grid, panels.items(), strict=False):
        drawn = _panel(axes, name, group)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    made.colorbar(drawn, ax=grid, shrink=0.8, aspect=24, label="cosine of the maps' rows")
    return made


def _panel(axes: Axes, name: str, group: Sequence[SimilarityRow]) -> QuadMesh:
    from matplotlib.colors import ListedColormap
    from matplotlib.ticker import MaxNLocator

    heads = math.isqrt(len(group))
    values = [[row.similarity for row in group[i * heads :][:heads]] for i in range(heads)]
    pairs = [row.similarity for row in group if row.first < row.second]
    mean = f"  {sum(pairs) / len(pairs):.2f}" if pairs else ""
    axes.set_title(f"{one_line(name, most=LONGEST)}{mean}", fontsize=SMALL)
    axes.grid(False)
    centres = range(heads)
    drawn = axes.pcolormesh(
        centres,
        centres,
        values,
        # Colours of the palette and none between them, which follow the theme of a page.
        cmap=ListedColormap(levels(_LEVELS)),
        vmin=0,
        vmax=1,
        edgecolors=COLOUR["card"],
        linewidth=0.5,
        shading="nearest",
    )
    axes.set_aspect("equal")
    axes.invert_yaxis()
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(nbins=4, integer=True, min_n_ticks=1))
    return drawn

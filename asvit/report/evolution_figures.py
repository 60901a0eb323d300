"""The pictures of an evolution over a supernet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from asvit.report.axes import dots, legend
from asvit.report.style import COLOUR, SMALL, figure, note

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from asvit.search.supernet_result import Generation, PathRow


def draw_generations(
    rows: Sequence[Generation],
    candidates: Sequence[PathRow],
    *,
    random: Mapping[str, float],
) -> Figure:
    """Accuracy over generations: every path, the median of each, and the best so far.

    Args:
        rows: The generations.
        candidates: Every path.
        random: Median accuracies of random paths, by what they are.
    """
    made = figure(height=3.4)
    axes = made.subplots()
    if not rows:
        note(axes, "no path has been evaluated yet")
        return made
    dots(axes, [one.generation for one in candidates], [one.validation for one in candidates])
    numbers = [row.generation for row in rows]
    alone = "o" if len(rows) == 1 else ""
    axes.plot(
        numbers,
        [row.median for row in rows],
        color=COLOUR["muted"],
        marker=alone,
        label="median of the generation",
    )
    axes.plot(
        numbers,
        [row.best_so_far for row in rows],
        color=COLOUR["second"],
        marker=alone,
        drawstyle="steps-post",
        label="best so far",
    )
    for place, (name, value) in enumerate(random.items()):
        axes.axhline(
            value,
            color=COLOUR["ink"],
            linewidth=1,
            linestyle=(0, (3, 3)) if place == 0 else (0, (1, 2)),
            label=f"median of random paths, {name}",
        )
    axes.set_xlabel("generation")
    _whole(axes)
    _accuracies(axes, candidates)
    legend(made)
    return made


def draw_costs(candidates: Sequence[PathRow], *, limit: int, winner: str) -> Figure:
    """Accuracy over multiply-adds of every path, the winner marked.

    Args:
        candidates: Every path.
        limit: Most multiply-adds that were allowed.
        winner: Text of the architecture that won.
    """
    made = figure(height=3.4)
    axes = made.subplots()
    if not candidates:
        note(axes, "no path has been evaluated yet")
        return made
    for name, colour, first in (("later", "first", False), ("first generation", "muted", True)):
        own = [one for one in candidates if (one.generation == 1) is first]
        axes.scatter(
            [one.macs / 1e6 for one in own],
            [one.validation for one in own],
            color=COLOUR[colour],
            s=14,
            linewidths=0,
            alpha=0.6,
            label=name if own else None,
        )
    best = [one for one in candidates if one.architecture == winner]
    axes.scatter(
        [one.macs / 1e6 for one in best],
        [one.validation for one in best],
        s=70,
        facecolors="none",
        edgecolors=COLOUR["second"],
        linewidths=1.6,
        label="winner",
    )
    axes.axvline(limit / 1e6, color=COLOUR["muted"], linewidth=1, linestyle=(0, (3, 3)))
    axes.set_xlabel("multiply-adds (million)")
    _accuracies(axes, candidates)
    legend(made)
    return made


def _accuracies(axes: Axes, candidates: Sequence[PathRow]) -> None:
    """Scale the upward axis for most of the paths; a few whose head never learnt lie far below."""
    values = sorted(one.validation for one in candidates)
    low, high = values[len(values) // 50], values[-1]
    margin = 0.08 * (high - low) or 1.0
    axes.set_ylim(low - margin, high + margin)
    below = sum(value < low - margin for value in values)
    if below:
        axes.annotate(
            f"{below} below",
            (1, 0),
            xycoords="axes fraction",
            xytext=(0, 3),
            textcoords="offset points",
            ha="right",
            fontsize=SMALL,
            color=COLOUR["muted"],
        )
    axes.set_ylabel("validation accuracy (%)")


def _whole(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True, min_n_ticks=1))

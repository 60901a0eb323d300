"""The figures of an evolution over a supernet with their rows, and its paths."""

from collections.abc import Iterator, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from asvit.core.summary import Table
from asvit.report.pictures import Picture
from asvit.report.style import (
    COLOUR,
    dots,
    empty,
    figure,
    legend,
    pairs,
    remark,
    whole,
)
from asvit.search.evolution import EvolutionResult, Generation, PathRow, first_generation


def pictures(result: EvolutionResult) -> list[Picture]:
    """Draw every picture of ``result``."""
    winner, limit = result.architecture, result.settings.max_macs or 0
    rows, generations = result.paths, result.generations
    return [
        Picture(
            "generations",
            "Generations",
            "Accuracy of every path with inherited weights, on the images that it is chosen by. "
            "The first generation is random.",
            lambda: draw_generations(generations, rows),
            (generations, Generation),
        ),
        Picture(
            "costs",
            "Cost",
            "The same accuracy over the cost of each path alone; the line is the most that was "
            "allowed.",
            lambda: draw_costs(rows, limit=limit, winner=winner),
            (rows, PathRow),
        ),
    ]


def draw_generations(rows: Sequence[Generation], candidates: Sequence[PathRow]) -> Figure:
    """Accuracy over generations: every path, the median of each, and the best so far."""
    if not rows:
        return empty("no path has been evaluated yet", height=3.4)
    fig = figure(height=3.4)
    axes = fig.subplots()
    dots(axes, *pairs(candidates, "generation", "validation"))
    shape: Any = {"marker": "o" if len(rows) == 1 else ""}
    name = "median of the generation"
    axes.plot(*pairs(rows, "generation", "median"), color=COLOUR["muted"], label=name, **shape)
    shape |= {"color": COLOUR["second"], "drawstyle": "steps-post"}
    axes.plot(*pairs(rows, "generation", "best_so_far"), label="best so far", **shape)
    axes.set_xlabel("generation")
    whole(axes.xaxis, nbins=10)
    _accuracies(axes, candidates)
    legend(fig)
    return fig


def draw_costs(candidates: Sequence[PathRow], *, limit: int, winner: str) -> Figure:
    """Accuracy over multiply-adds of every path, the winner and the limit marked."""
    if not candidates:
        return empty("no path has been evaluated yet", height=3.4)
    fig = figure(height=3.4)
    axes = fig.subplots()
    first = first_generation(candidates)
    later = [row for row in candidates if row.generation > first[0].generation]
    for name, colour, points in (("later", "first", later), ("first generation", "muted", first)):
        label = name if points else None
        dots(axes, *_costs(points), s=14, alpha=0.6, color=COLOUR[colour], label=label)
    axes.scatter(
        *_costs([row for row in candidates if row.architecture == winner]),
        s=70,
        facecolors="none",
        edgecolors=COLOUR["second"],
        linewidths=1.6,
        label="winner",
    )
    axes.axvline(limit / 1e6, color=COLOUR["muted"], linewidth=1, linestyle=(0, (3, 3)))
    axes.set_xlabel("multiply-adds (million)")
    _accuracies(axes, candidates)
    legend(fig)
    return fig


def _costs(paths: Sequence[PathRow]) -> tuple[list[float], list[float]]:
    """Millions of multiply-adds, and accuracies."""
    return [path.macs / 1e6 for path in paths], [path.validation for path in paths]


def _accuracies(axes: Axes, candidates: Sequence[PathRow]) -> None:
    """Scale the upward axis for most of the paths; a few whose head never learnt lie far below."""
    values = sorted(row.validation for row in candidates)
    low, high = values[len(values) // 50], values[-1]
    margin = 0.08 * (high - low) or 1.0
    axes.set_ylim(low - margin, high + margin)
    below = sum(value < low - margin for value in values)
    if below:
        remark(axes, f"{below} below", (1, 0), (0, 3), xycoords="axes fraction", ha="right")
    axes.set_ylabel("validation accuracy (%)")


def details(result: EvolutionResult) -> Iterator[Table]:
    """Every path."""
    columns = ["number", "generation", "origin", "architecture", "cells", "multiply-adds"]
    rows = [list(vars(path).values()) for path in result.paths]
    yield Table([*columns, "validation"], rows, "Paths")

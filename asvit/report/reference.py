"""The figures of a reference table: the spread of its accuracies, and how far seeds agree."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from asvit.reference.build_result import BuildResult, BuiltRow
from asvit.report.pictures import Picture
from asvit.report.style import COLOUR, dots, figure, note, whole


@dataclass(frozen=True)
class SeedRow:
    """Accuracy of an architecture with a training seed, per cent; NaN where training failed."""

    architecture: str
    seed: int
    accuracy: float


def pictures(result: BuildResult) -> list[Picture]:
    """The distribution of accuracies, and how far seeds agree."""
    rows = [
        SeedRow(row.architecture, seed, accuracy)
        for row in result.rows
        for seed, accuracy in enumerate(row.accuracies)
    ]
    figures = [
        Picture(
            "spread",
            "Distribution of accuracies",
            "Architectures by their mean accuracy over the seeds. The closer they lie, the less "
            "a measure can tell them apart.",
            lambda: draw_spread(result.rows),
            (rows, SeedRow),
        ),
        Picture(
            "seeds",
            "Agreement between seeds",
            "Accuracy of every architecture with the first seed and with each other one; on the "
            "line they are equal.",
            lambda: draw_seeds(result.rows),
            (rows, SeedRow),
        ),
    ]
    return figures if result.settings.seeds > 1 else figures[:1]


def draw_spread(rows: Sequence[BuiltRow]) -> Figure:
    """Histogram of mean accuracies, per cent."""
    fig = figure()
    axes = fig.subplots()
    means = [row.mean for row in rows if math.isfinite(row.mean)]
    if means:
        bins = min(40, max(5, round(1.5 * math.sqrt(len(means)))))
        axes.hist(means, bins=bins, color=COLOUR["first"])
        axes.set(xlabel="mean accuracy (%)", ylabel="architectures")
        whole(axes.yaxis)
    else:
        note(axes, "no architecture without a failed training")
    return fig


def draw_seeds(rows: Sequence[BuiltRow]) -> Figure:
    """Accuracy with the other seeds over accuracy with the first, per cent."""
    fig = figure(height=3.4)
    axes = fig.subplots()
    points = [(row.accuracies[0], other) for row in rows for other in row.accuracies[1:]]
    points = [point for point in points if all(map(math.isfinite, point))]
    if points:
        ends = [end(map(end, points)) for end in (min, max)]
        axes.plot(ends, ends, color=COLOUR["muted"], linewidth=1, linestyle="--")
        dots(axes, [x for x, _ in points], [y for _, y in points])
        axes.set(xlabel="accuracy, first seed (%)", ylabel="accuracy, other seeds (%)")
    else:
        note(axes, "no architecture was trained with two seeds")
    return fig

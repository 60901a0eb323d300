"""The report of a reference table: the spread of its accuracies, and how far seeds agree."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from asvit.core.summary import Cell, Section, Summary, SummaryPart, parts_of
from asvit.reference.build_result import BuildResult, BuiltRow
from asvit.report import html
from asvit.report.pictures import Picture
from asvit.report.style import COLOUR, dots, figure, note

BEST = 10  # architectures of a summary


@dataclass(frozen=True)
class SeedRow:
    """Accuracy of an architecture with a training seed, per cent; NaN where training failed."""

    architecture: str
    seed: int
    accuracy: float


def summary(result: BuildResult) -> Summary:
    """Spread and noise of the table, its best architectures, and the trainings that failed."""
    apart, seeds = result.spread, result.settings.seeds
    facts = {
        "architectures": html.number(len(result.rows)),
        "trainings": f"{result.settings.n * seeds} in {html.duration(result.wall_seconds)}, "
        f"{len(result.failures)} failed",
        "accuracy": f"{apart.lowest:.1f} to {apart.highest:.1f} %, median {apart.median:.1f}",
        "std between architectures": f"{apart.between:.2f} points",
    }
    if seeds > 1:
        facts["std between seeds"] = f"{apart.within:.2f} points"
    if math.isfinite(result.noise_ceiling):
        facts["noise ceiling"] = f"tau between two training seeds is {result.noise_ceiling:.3f}"
    if math.isfinite(result.reachable):
        facts["reachable"] = (
            f"tau {result.reachable:.3f} with the means over {seeds} seeds, by a measure that "
            "knew every expected accuracy"
        )
    best = sorted(result.rows, key=lambda row: (row.mean != row.mean, -row.mean))[:BEST]
    columns = ["architecture", "params", "multiply-adds", "accuracy", "std"]
    rows: list[list[Cell]] = [
        [row.architecture, row.params, row.macs, row.mean, row.std] for row in best
    ]
    title = f"The best {len(best)} of {len(result.rows)} architectures, per cent"
    sections = [Section(title, "", columns, rows)]
    if result.failures:
        failed = list(result.failures.items())
        sections.append(Section("Failed trainings", "", ["training", "reason"], failed))
    return Summary(facts, sections)


def summary_parts(result: BuildResult) -> Iterable[SummaryPart]:
    """The summary as the terminal shows it."""
    return parts_of(summary(result))


def _pictures(result: BuildResult) -> list[Picture]:
    rows = [
        SeedRow(row.architecture, seed, accuracy)
        for row in result.rows
        for seed, accuracy in enumerate(row.accuracies)
    ]
    pictures = [
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
    return pictures if result.settings.seeds > 1 else pictures[:1]


def draw_spread(rows: Sequence[BuiltRow]) -> Figure:
    """Histogram of mean accuracies, per cent."""
    fig = figure()
    axes = fig.subplots()
    means = [row.mean for row in rows if math.isfinite(row.mean)]
    if means:
        bins = min(40, max(5, round(1.5 * math.sqrt(len(means)))))
        axes.hist(means, bins=bins, color=COLOUR["first"])
        axes.set(xlabel="mean accuracy (%)", ylabel="architectures")
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


write_reference_report = html.result_report(
    "asvit reference build", BuildResult, summary, _pictures
)

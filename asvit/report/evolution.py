"""The report of an evolution over a supernet: figures with their rows, and one page with it all.

It needs a result.json and the trials.csv beside it. The same folder gives the same bytes.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from asvit.core.run_files import TRIALS
from asvit.core.summary import Section, Summary
from asvit.report import html
from asvit.report.pictures import Picture
from asvit.report.style import COLOUR, dots, empty, figure, legend, pairs, remark, thinned, whole
from asvit.search.supernet_result import EvolutionResult, Generation, PathRow

OPEN_CANDIDATES = 40  # paths up to which their table is shown unfolded
MOST_PATHS = 2000  # that figures show; more are thinned
MOST_ROWS = 1000  # of the table of paths; trials.csv has them all


def evolution_pictures(result: EvolutionResult) -> list[Picture]:
    """Draw every picture of ``result``."""
    winner, limit = result.winner.architecture, result.settings.max_macs or 0
    even = thinned(result.paths, MOST_PATHS)
    best = (row for row in result.paths if row.architecture == winner)
    rows = sorted({row.number: row for row in (*even, *best)}.values(), key=lambda row: row.number)
    generations = thinned(result.generations, MOST_PATHS)
    random = {words: paths.validation.median for words, paths in result.random_paths.items()}
    return [
        Picture(
            "generations",
            "Generations",
            "Accuracy of every path with inherited weights, on the images that it is chosen by. "
            "The first generation is random.",
            lambda: draw_generations(generations, rows, random=random),
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


def draw_generations(
    rows: Sequence[Generation], candidates: Sequence[PathRow], *, random: Mapping[str, float]
) -> Figure:
    """Accuracy over generations: every path, the median of each, and the best so far.

    ``random`` maps a description of random paths to their median accuracy.
    """
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
    for place, (name, value) in enumerate(random.items()):
        axes.axhline(
            value,
            color=COLOUR["ink"],
            linewidth=1,
            linestyle=(0, (3, 3)) if place == 0 else (0, (1, 2)),
            label=f"median of random paths, {name}",
        )
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
    for name, colour, first in (("later", "first", False), ("first generation", "muted", True)):
        points = [row for row in candidates if (row.generation == 1) is first]
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


def summary(result: EvolutionResult) -> Summary:
    """The winner, the generations, and random paths with the same weights."""
    limit, winner = html.number(result.settings.max_macs), result.winner
    facts = {
        "winner": winner.architecture,
        "parameters": html.number(winner.params),
        "multiply-adds": f"{html.number(winner.macs)} of {limit} allowed",
        "validation, inherited weights": f"{html.number(winner.validation)} %",
        "test, inherited weights": f"{html.number(winner.test)} %",
        "paths": f"{result.evaluated} in {len(result.generations)} generations",
        "space": result.space,
        "supernet": result.provenance["supernet"]["folder"],
    }
    if result.reason:
        facts["ended early"] = result.reason
    columns = ["generation", "paths", "best", "median", "best so far"]
    rows = [list(vars(row).values()) for row in result.generations]
    generations = Section("Generations: validation accuracy, per cent", "", columns, rows)
    columns = ["paths", "images", "number", "lowest", "median", "highest", "winner"]
    rows = [
        [f"random, {words}", part, *vars(getattr(paths, part)).values(), reached]
        for words, paths in result.random_paths.items()
        for part, reached in (("validation", winner.validation), ("test", winner.test))
    ]
    about = (
        "Accuracy in per cent with the same inherited weights. The winner was chosen by the "
        "validation images, so that only the test images compare fairly."
    )
    return Summary(facts, [generations, Section("Beside random paths", about, columns, rows)])


def _paths(result: EvolutionResult) -> Iterator[str]:
    """The table of paths."""
    columns = ["number", "generation", "origin", "architecture", "cells", "multiply-adds"]
    columns.append("validation")
    last, every = result.paths[-MOST_ROWS:], len(result.paths)
    table = html.table(columns, [list(vars(path).values()) for path in last], long=True)
    words = f"{len(last)} paths"
    if len(last) < every:
        words = f"The last {len(last)} of {every} paths; trials.csv has all"
    left_out = html.paragraph(html.left_out(MOST_PATHS, every, "paths", "the winner"))
    unfolded = len(last) <= OPEN_CANDIDATES
    yield html.section("Paths", left_out, html.folded(words, table, unfolded=unfolded))


write_evolution_report = html.result_report(
    "asvit supernet evolve", EvolutionResult, summary, evolution_pictures, _paths, (TRIALS,)
)

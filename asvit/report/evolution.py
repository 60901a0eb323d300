"""The report of an evolution over a supernet: figures with their rows, and one page with it all.

It needs a result.json and the trials.csv beside it. The same folder gives the same bytes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from asvit.core.files import read_text
from asvit.core.run_files import RESULT, TRIALS
from asvit.report import html
from asvit.report.pictures import Picture
from asvit.report.style import COLOUR, dots, empty, figure, legend, pairs, remark, thinned, whole
from asvit.search.supernet_result import (
    EvolutionResult,
    Generation,
    PathRow,
    RandomPaths,
    read_paths,
)

OPEN_CANDIDATES = 40  # paths up to which their table is shown unfolded
MOST_PATHS = 2000  # that figures show; more are thinned
MOST_ROWS = 1000  # of the table of paths; trials.csv has them all


@dataclass(frozen=True)
class EvolutionFolder:
    """An evolution that has finished: its result, and every path as they were evaluated."""

    result: EvolutionResult
    candidates: Sequence[PathRow]

    @property
    def name(self) -> str:
        """Name of the run folder."""
        return self.result.folder.resolve().name


def read_evolution_run(folder: Path) -> EvolutionFolder:
    """Read the run folder of an evolution."""
    html.check_run(folder, "asvit supernet evolve", "evolution", (RESULT, TRIALS))
    result = EvolutionResult.read(folder / RESULT)
    try:
        return EvolutionFolder(result, read_paths(read_text(folder / TRIALS)))
    except ValueError as error:
        raise ValueError(f"{folder / TRIALS}: {error}") from error


def evolution_pictures(run: EvolutionFolder) -> list[Picture]:
    """Draw every picture of ``run``."""
    generations, winner = run.result.generations, run.result.winner.architecture
    even = thinned(run.candidates, MOST_PATHS)
    won = (one for one in run.candidates if one.architecture == winner)
    shown = sorted({one.number: one for one in (*even, *won)}.values(), key=lambda one: one.number)
    generations = thinned(generations, MOST_PATHS)
    random = {words: paths.validation.median for words, paths in _random_paths(run.result).items()}
    return [
        Picture(
            "generations",
            "Generations",
            "Accuracy of every path with inherited weights, on the images that it is chosen by. "
            "The first generation is random.",
            lambda: draw_generations(generations, shown, random=random),
            (generations, Generation),
        ),
        Picture(
            "costs",
            "Cost",
            "The same accuracy over the cost of each path alone; the line is the most that was "
            "allowed.",
            lambda: draw_costs(shown, limit=run.result.settings.max_macs or 0, winner=winner),
            (shown, PathRow),
        ),
    ]


def draw_generations(
    rows: Sequence[Generation], candidates: Sequence[PathRow], *, random: Mapping[str, float]
) -> Figure:
    """Accuracy over generations: every path, the median of each, and the best so far.

    ``random`` are median accuracies of random paths, by what these are.
    """
    if not rows:
        return empty("no path has been evaluated yet", height=3.4)
    made = figure(height=3.4)
    axes = made.subplots()
    told = (f"{one.architecture}: {one.validation:.4g} %" for one in candidates)
    dots(axes, *pairs(candidates, "generation", "validation"), told)
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
    legend(made)
    return made


def draw_costs(candidates: Sequence[PathRow], *, limit: int, winner: str) -> Figure:
    """Accuracy over multiply-adds of every path, the winner and the limit marked."""
    if not candidates:
        return empty("no path has been evaluated yet", height=3.4)
    made = figure(height=3.4)
    axes = made.subplots()
    for name, colour, first in (("later", "first", False), ("first generation", "muted", True)):
        own = [one for one in candidates if (one.generation == 1) is first]
        label = name if own else None
        dots(axes, *_costs(own), s=14, alpha=0.6, color=COLOUR[colour], label=label)
    axes.scatter(
        *_costs([one for one in candidates if one.architecture == winner]),
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


def _costs(paths: Sequence[PathRow]) -> tuple[list[float], list[float]]:
    """Millions of multiply-adds, and accuracies."""
    return [one.macs / 1e6 for one in paths], [one.validation for one in paths]


def _accuracies(axes: Axes, candidates: Sequence[PathRow]) -> None:
    """Scale the upward axis for most of the paths; a few whose head never learnt lie far below."""
    values = sorted(one.validation for one in candidates)
    low, high = values[len(values) // 50], values[-1]
    margin = 0.08 * (high - low) or 1.0
    axes.set_ylim(low - margin, high + margin)
    below = sum(value < low - margin for value in values)
    if below:
        remark(axes, f"{below} below", (1, 0), (0, 3), xycoords="axes fraction", ha="right")
    axes.set_ylabel("validation accuracy (%)")


def page(run: EvolutionFolder, drawn: Sequence[Picture]) -> str:
    """The whole page of ``run`` around the pictures ``drawn`` of it."""
    left_out = html.left_out(MOST_PATHS, len(run.candidates), "paths", "the winner")
    return html.page(
        f"{run.name}: evolution over a supernet",
        [
            _header(run.result, run.name),
            _winner(run.result),
            _compared(run.result),
            html.figures(drawn, left_out),
            _candidates(run),
            html.origin(run.result.settings, run.result),
        ],
    )


def _header(result: EvolutionResult, name: str) -> str:
    took = html.duration(result.wall_seconds)
    what = f"{result.evaluated} paths in {len(result.generations)} generations in {took}."
    if result.reason:
        what += f" It ended early: {result.reason}."
    supernet = result.provenance["supernet"]["folder"]
    told = [result.space, f"supernet {supernet}", f"seed {result.settings.seed}"]
    return html.header("asvit supernet evolve", name, told, what)


def _winner(result: EvolutionResult) -> str:
    limit, winner = html.number(result.settings.max_macs), result.winner
    pairs = [
        ("parameters", html.number(winner.params)),
        ("multiply-adds", f"{html.number(winner.macs)} of {limit} allowed"),
        ("validation, inherited weights", f"{html.number(winner.validation)} %"),
        ("test, inherited weights", f"{html.number(winner.test)} %"),
    ]
    again = result.retrained
    if again is not None:
        told = again.reason or f"{html.number(again.accuracy)} %"
        pairs.append(("test, trained from scratch", told))
    return html.section(
        "Winner", html.card(html.paragraph(winner.architecture, "architecture"), html.facts(pairs))
    )


def _random_paths(result: EvolutionResult) -> dict[str, RandomPaths]:
    return {"within the limit": result.in_window, "of any cost": result.anywhere}


def _compared(result: EvolutionResult) -> str:
    """The winner beside random paths with the same weights."""
    columns = ["paths", "images", "number", "lowest", "median", "highest", "winner"]
    cells: list[list[html.Cell]] = [
        [f"random, {words}", part, *vars(getattr(paths, part)).values(), reached]
        for words, paths in _random_paths(result).items()
        for part, reached in (
            ("validation", result.winner.validation),
            ("test", result.winner.test),
        )
    ]
    return html.section(
        "Beside random paths",
        html.paragraph(
            "Accuracy in per cent with the same inherited weights. The winner was chosen by the "
            "validation images, so that only the test images compare fairly."
        ),
        html.card(html.table(columns, cells, numeric=set(columns[2:]))),
    )


def _candidates(run: EvolutionFolder) -> str:
    columns = ["number", "generation", "origin", "architecture", "cells", "multiply-adds"]
    columns.append("validation")
    shown = run.candidates[-MOST_ROWS:]
    cells: list[list[html.Cell]] = [list(vars(one).values()) for one in shown]
    numeric = {"number", "generation", "multiply-adds", "validation"}
    table = html.table(columns, cells, numeric=numeric, long=True)
    words = f"{len(cells)} paths"
    if len(cells) < len(run.candidates):
        words = f"The last {len(cells)} of {len(run.candidates)} paths; trials.csv has all"
    unfolded = len(cells) <= OPEN_CANDIDATES
    return html.section("Paths", html.folded(words, table, unfolded=unfolded))


write_evolution_report = html.Report(read_evolution_run, evolution_pictures, page)

"""The report of an evolution over a supernet: figures with their rows, and one page with it all.

It needs a result.json and the trials.csv beside it. The same folder gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from asvit.core.run_files import ACCURACIES, RESULT, TRIALS
from asvit.report import evolution_figures as draw
from asvit.report import html
from asvit.report.parts import figures, origin, write_pages
from asvit.report.pictures import Picture, make_picture
from asvit.report.run import read_object
from asvit.search.supernet_result import (
    EvolutionResult,
    Generation,
    PathRow,
    RandomPaths,
    read_paths,
)

OPEN_CANDIDATES = 40  # paths up to which their table is shown unfolded


@dataclass(frozen=True)
class EvolutionFolder:
    """An evolution that has finished.

    Attributes:
        name: Name of the run folder.
        candidates: Every path, in the order in which they were evaluated.
        result: Its result.
    """

    name: str
    candidates: Sequence[PathRow]
    result: EvolutionResult


def is_evolution_run(folder: Path) -> bool:
    """Whether ``folder`` is the run folder of an evolution."""
    return (folder / ACCURACIES).is_file()


def read_evolution_run(folder: Path) -> EvolutionFolder:
    """Read the run folder of an evolution.

    Raises:
        FileNotFoundError: If no evolution has finished in it yet.
        ValueError: If one of its files is not what it should be.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"no run folder {str(folder)!r}; asvit supernet evolve makes one")
    kind = read_object(folder / RESULT).get("kind")
    if kind != EvolutionResult.kind or not (folder / TRIALS).is_file():
        raise FileNotFoundError(
            f"{folder} has no finished evolution yet; the same asvit supernet evolve goes on "
            "with it"
        )
    result = EvolutionResult.read(folder / RESULT)
    try:
        candidates = read_paths((folder / TRIALS).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{folder / TRIALS}: {error}") from error
    return EvolutionFolder(folder.resolve().name, candidates, result)


def write_evolution_report(folder: Path | str) -> list[Path]:
    """Write the figures of an evolution, their rows and ``report.html`` into its run folder.

    Args:
        folder: Run folder of a finished evolution.

    Returns:
        The files written, the page last.

    Raises:
        FileNotFoundError: If nothing is finished in the folder yet.
        ValueError: If a file in it is not what it should be.
        OSError: If it cannot be written to; each file is there as a whole or not at all.
    """
    folder = Path(folder)
    run = read_evolution_run(folder)
    drawn = evolution_pictures(run)
    return write_pages(folder, drawn, page(run, drawn))


def evolution_pictures(run: EvolutionFolder) -> list[Picture]:
    """Draw every picture of ``run``."""
    generations = run.result.generations
    random = {words: paths.validation.median for words, paths in _random_paths(run.result).items()}
    return [
        make_picture(
            "generations",
            "Generations",
            "Accuracy of every path with inherited weights, on the images that it is chosen by. "
            "The first generation is random.",
            lambda: draw.draw_generations(generations, run.candidates, random=random),
            (generations, Generation),
        ),
        make_picture(
            "costs",
            "Cost",
            "The same accuracy over the cost of each path alone; the line is the most that was "
            "allowed.",
            lambda: draw.draw_costs(
                run.candidates,
                limit=run.result.settings.max_macs or 0,
                winner=run.result.winner.architecture,
            ),
            (run.candidates, PathRow),
        ),
    ]


def page(run: EvolutionFolder, drawn: Sequence[Picture]) -> str:
    """The whole page of ``run`` around the pictures ``drawn`` of it."""
    return html.page(
        f"{run.name}: evolution over a supernet",
        [
            _header(run.result, run.name),
            _winner(run.result),
            _compared(run.result),
            figures(drawn),
            _candidates(run),
            origin(run.result.settings.to_json(), run.result.provenance),
        ],
    )


def _header(result: EvolutionResult, name: str) -> str:
    took = html.duration(result.wall_seconds)
    what = f"{result.evaluated} paths in {len(result.generations)} generations in {took}."
    if result.reason:
        what += f" It ended early: {result.reason}."
    supernet = result.provenance["supernet"]["folder"]
    told = [result.space, f"supernet {supernet}", f"seed {result.settings.seed}"]
    return (
        html.paragraph("asvit supernet evolve", "quiet")
        + html.heading(name)
        + html.paragraph(" · ".join(told), "quiet")
        + html.paragraph(what)
    )


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
        "Winner",
        html.card(html.paragraph(winner.architecture, "architecture"), html.facts(pairs)),
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
    cells: list[list[html.Cell]] = [list(vars(one).values()) for one in run.candidates]
    numeric = {"number", "generation", "multiply-adds", "validation"}
    table = html.table(columns, cells, numeric=numeric, long=True)
    words = f"{len(cells)} paths"
    return html.section(
        "Paths",
        html.card(html.folded(words, table, unfolded=len(cells) <= OPEN_CANDIDATES)),
    )

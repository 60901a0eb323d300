"""The report of an evolution over a supernet: figures with their rows, and one page with it all.

It needs a result.json and the trials.csv beside it. The same folder gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asvit._run_files import ACCURACIES, RESULT, TRIALS
from asvit.report import evolution_figures as draw
from asvit.report import html
from asvit.report.parts import figures, origin, write_pages
from asvit.report.pictures import Picture, make_picture
from asvit.report.results import OfEvolution, check_result
from asvit.report.run import read_object
from asvit.search.supernet_journal import KIND

OPEN_CANDIDATES = 40  # paths up to which their table is shown unfolded

_RANDOM = {"in_window": "within the limit", "anywhere": "of any cost"}


@dataclass(frozen=True)
class EvolutionRun:
    """An evolution that has finished.

    Attributes:
        name: Name of the run folder.
        candidates: Every path, in the order in which they were evaluated.
        result: Content of result.json.
    """

    name: str
    candidates: Sequence[draw.CandidateRow]
    result: Mapping[str, Any]


def is_evolution_run(folder: Path) -> bool:
    """Whether ``folder`` is the run folder of an evolution."""
    return (folder / ACCURACIES).is_file()


def read_evolution_run(folder: Path) -> EvolutionRun:
    """Read the run folder of an evolution.

    Raises:
        FileNotFoundError: If no evolution has finished in it yet.
        ValueError: If one of its files is not what it should be.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"no run folder {str(folder)!r}; asvit supernet evolve makes one")
    result = read_object(folder / RESULT)
    if result.get("kind") != KIND or not (folder / TRIALS).is_file():
        raise FileNotFoundError(
            f"{folder} has no finished evolution yet; the same asvit supernet evolve goes on "
            "with it"
        )
    check_result(result, OfEvolution, folder / RESULT)
    try:
        candidates = draw.read_candidates((folder / TRIALS).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{folder / TRIALS}: {error}") from error
    return EvolutionRun(folder.resolve().name, candidates, result)


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


def evolution_pictures(run: EvolutionRun) -> list[Picture]:
    """Draw every picture of ``run``."""
    generations = draw.generation_rows(run.result["generations"])
    random = {
        words: run.result["random"][name]["validation"]["median"]
        for name, words in _RANDOM.items()
    }
    return [
        make_picture(
            "generations",
            "Generations",
            "Accuracy of every path with inherited weights, on the images that it is chosen by. "
            "The first generation is random.",
            lambda: draw.draw_generations(generations, run.candidates, random=random),
            (generations, draw.GenerationRow),
        ),
        make_picture(
            "costs",
            "Cost",
            "The same accuracy over the cost of each path alone; the line is the most that was "
            "allowed.",
            lambda: draw.draw_costs(
                run.candidates,
                limit=run.result["settings"]["max_macs"],
                winner=run.result["architecture"],
            ),
            (run.candidates, draw.CandidateRow),
        ),
    ]


def page(run: EvolutionRun, drawn: Sequence[Picture]) -> str:
    """The whole page of ``run`` around the pictures ``drawn`` of it."""
    return html.page(
        f"{run.name}: evolution over a supernet",
        [
            _header(run.result, run.name),
            _winner(run.result),
            _compared(run.result),
            figures(drawn),
            _candidates(run),
            origin(run.result["settings"], run.result),
        ],
    )


def _header(result: Mapping[str, Any], name: str) -> str:
    took = html.duration(result["wall_seconds"])
    what = f"{result['evaluated']} paths in {len(result['generations'])} generations in {took}."
    if result["reason"]:
        what += f" It ended early: {result['reason']}."
    told = [f"supernet {result['supernet']['folder']}", f"seed {result['settings']['seed']}"]
    return (
        html.paragraph("asvit supernet evolve", "quiet")
        + html.heading(name)
        + html.paragraph(" · ".join([result["space"], *told]), "quiet")
        + html.paragraph(what)
    )


def _winner(result: Mapping[str, Any]) -> str:
    limit = html.number(result["settings"]["max_macs"])
    pairs = [
        ("parameters", html.number(result["params"])),
        ("multiply-adds", f"{html.number(result['macs'])} of {limit} allowed"),
        ("validation, inherited weights", f"{html.number(result['validation'])} %"),
        ("test, inherited weights", f"{html.number(result['test'])} %"),
    ]
    again = result["retrained"]
    if again is not None:
        came_to = again["reason"] or f"{html.number(again['accuracy'])} %"
        pairs.append(("test, trained from scratch", came_to))
    return html.section(
        "Winner",
        html.card(html.paragraph(result["architecture"], "architecture"), html.facts(pairs)),
    )


def _compared(result: Mapping[str, Any]) -> str:
    """The winner beside random paths with the same weights."""
    columns = ["paths", "images", "number", "lowest", "median", "highest", "winner"]
    cells: list[list[html.Cell]] = [
        [
            f"random, {words}",
            part,
            *(
                result["random"][name][part][key]
                for key in ("paths", "lowest", "median", "highest")
            ),
            result[part],
        ]
        for name, words in _RANDOM.items()
        for part in ("validation", "test")
    ]
    return html.section(
        "Beside random paths",
        html.paragraph(
            "Accuracy in per cent with the same inherited weights. The winner was chosen by the "
            "validation images, so that only the test images compare fairly."
        ),
        html.card(html.table(columns, cells, numeric=set(columns[2:]))),
    )


def _candidates(run: EvolutionRun) -> str:
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

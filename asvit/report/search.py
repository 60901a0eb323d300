"""The report of a search: figures with their rows beside them, and one page that holds it all.

It needs a trials.csv and takes whatever else the run folder has, so an unfinished run has a report
too. The same folder gives the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from asvit.report import html
from asvit.report.figures import label
from asvit.report.parts import figures, origin, write_pages
from asvit.report.pictures import Picture, pictures
from asvit.report.reliability import trust
from asvit.report.run import SearchTrials, read_run
from asvit.search.front import pareto_front
from asvit.search.rows import without_sizes

if TYPE_CHECKING:
    from asvit.search import TrialRow
    from asvit.search.result import SearchResult

FRONT = 10  # architectures in the front's table
MOST_TRIALS = 1000  # rows in the table of trials; trials.csv has them all
OPEN_TRIALS = 30  # trials up to which their table is shown unfolded


def write_search_report(folder: Path | str) -> list[Path]:
    """Write the figures of a search, their rows and ``report.html`` into its run folder.

    Args:
        folder: Run folder of a search, finished or not.

    Returns:
        The files written, the page last.

    Raises:
        FileNotFoundError: If the folder holds no trials.
        ValueError: If a file in it is not what it should be.
        OSError: If it cannot be written to; each file is there as a whole or not at all.
    """
    folder = Path(folder)
    run = read_run(folder)
    drawn = pictures(run)
    return write_pages(folder, drawn, page(run, drawn))


def page(run: SearchTrials, drawn: Sequence[Picture]) -> str:
    """The whole page of ``run`` around the pictures ``drawn`` of it."""
    return html.page(
        f"{run.name}: search for a seed architecture",
        [
            _header(run),
            _seed(run.result),
            figures(drawn),
            _front(run),
            trust(run.result.reliability if run.result else None),
            _trials(run),
            origin(
                run.settings.to_json() if run.settings else {},
                run.result.provenance if run.result else {},
            ),
        ],
    )


def _header(run: SearchTrials) -> str:
    done, settings, result = len(run.trials), run.settings, run.result
    told = [
        f"{name.replace('_', ' ')} {getattr(settings, name)}"
        for name in ("space", "controller", "image_size", "seed")
        if settings is not None
    ]
    if result is not None:
        what = f"Finished: {_architectures(done)} in {html.duration(result.wall_seconds)}."
    else:
        of_all = f"{done} of {_architectures(settings.steps)}" if settings else ""
        what = f"Not finished: {of_all or _architectures(done)}. The same command continues it."
    return (
        html.paragraph("asvit search", "quiet")
        + html.heading(run.name)
        + html.paragraph(" · ".join(told), "quiet")
        + html.paragraph(what)
    )


def _seed(result: SearchResult | None) -> str:
    if result is None:
        return ""
    pairs = [
        ("parameters", html.number(result.params)),
        ("multiply-adds", html.number(result.macs)),
    ]
    values = ((name, result.values[name]) for name in without_sizes(result.values))
    pairs += [(label(name), html.number(value) or "failed") for name, value in values]
    first, last = result.entropy
    if math.isfinite(first) and math.isfinite(last):
        pairs.append(("entropy, first to last", f"{first:.2f} to {last:.2f} nats"))
    parts = [html.paragraph(result.seed_architecture, "architecture"), html.facts(pairs)]
    if result.reason:
        parts.append(html.paragraph(result.reason, "quiet"))
    return html.section("Seed architecture", html.card(*parts))


def _front(run: SearchTrials) -> str:
    if not run.objectives:
        return ""
    best = pareto_front(run.trials, run.objectives, count=FRONT)
    words = (
        "The best architectures measured: those that no other one beats in every objective "
        "first, by the sum of their ranks. Click a heading to sort."
    )
    return html.section(
        f"The {len(best)} best", html.paragraph(words), html.card(_table(run, best, short=True))
    )


def _trials(run: SearchTrials) -> str:
    shown = run.trials[-MOST_TRIALS:]
    words = _architectures(len(run.trials))
    if len(shown) < len(run.trials):
        words = f"The last {len(shown)} of {len(run.trials)} architectures; trials.csv has all"
    table = _table(run, shown)
    return html.section(
        "Trials", html.card(html.folded(words, table, unfolded=len(shown) <= OPEN_TRIALS))
    )


def _table(run: SearchTrials, trials: Sequence[TrialRow], *, short: bool = False) -> str:
    """A table of ``trials``; the short one leaves out how they came about."""
    measures = without_sizes(run.better)
    numeric = ["parameters", "multiply-adds", *map(label, measures), "reward", "entropy"]
    columns = ["step", "architecture", *numeric, "state", "reason"]
    cells: list[list[html.Cell]] = [
        [
            t.number + 1,
            t.architecture,
            t.params,
            t.macs,
            *(t.values.get(name) for name in measures),
            t.reward,
            t.entropy,
            t.state,
            t.reason,
        ]
        for t in trials
    ]
    width = len(columns) - 4 if short else len(columns)
    return html.table(
        columns[:width],
        [row[:width] for row in cells],
        numeric={"step", *numeric},
        failed={place for place, t in enumerate(trials) if t.state == "failed"},
        long=not short,
    )


def _architectures(count: int) -> str:
    return "1 architecture" if count == 1 else f"{count} architectures"

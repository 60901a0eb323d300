"""The report of a scaling: the series, its figures with their rows, and one page with it all.

It needs a steps.csv and takes whatever else the run folder has, so an unfinished run has a report
too. The same folder gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from asvit.report import html
from asvit.report import scale_figures as draw
from asvit.report import scale_rows as rows
from asvit.report.figures import label
from asvit.report.parts import figures, origin, write_pages
from asvit.report.pictures import Picture, make_picture
from asvit.report.reliability import trust
from asvit.report.scale_run import ScaleRun, read_scale_run
from scaling.budget import UNIT_NAMES, parse_budgets

if TYPE_CHECKING:
    from scaling import Row

OPEN_CANDIDATES = 40  # candidates up to which their table is shown unfolded


def write_scale_report(folder: Path | str) -> list[Path]:
    """Write the figures of a scaling, their rows and ``report.html`` into its run folder.

    Args:
        folder: Run folder of a scaling, finished or not.

    Returns:
        The files written, the page last.

    Raises:
        FileNotFoundError: If the folder holds no finished step.
        ValueError: If a file in it is not what it should be.
        OSError: If it cannot be written to; each file is there as a whole or not at all.
    """
    folder = Path(folder)
    run = read_scale_run(folder)
    drawn = scale_pictures(run)
    return write_pages(folder, drawn, page(run, drawn))


def scale_pictures(run: ScaleRun) -> list[Picture]:
    """Draw every picture of ``run``; one without anything to show says so."""
    stages, sizes = rows.stage_rows(run.series), rows.size_rows(run.series)
    scores = rows.score_rows(run.candidates)
    clouds = rows.cloud_rows(run.series, run.candidates, run.better)
    ranking = [name for name, way in run.better.items() if way != "reported"]
    limits = parse_budgets(run.settings["budgets"]) if "budgets" in run.settings else ()
    return [
        make_picture(
            "growth",
            "Depth and width",
            "Blocks in each stage and channels of the first one, over the parameters.",
            lambda: draw.draw_growth(stages),
            (stages, rows.StageRow),
        ),
        make_picture(
            "sizes",
            "Size",
            "Parameters and multiply-adds after each step; dashed lines are budgets.",
            lambda: draw.draw_sizes(
                sizes,
                budgets=[(str(limit), limit.amount) for limit in limits],
                unit=limits[0].unit if limits else "params",
            ),
            (sizes, rows.SizeRow),
        ),
        make_picture(
            "measures",
            "Measures",
            "Every candidate of every step, measured at reduced width, and the chosen one.",
            lambda: draw.draw_scores(scores),
            (scores, rows.ScoreRow),
        ),
        make_picture(
            "clouds",
            "Candidates",
            "What each step chose from: the colour is the stage with one more block, a larger "
            f"point is wider. {_ways(run)}",
            lambda: draw.draw_clouds(clouds, (*ranking, "", "")),
            (clouds, rows.CloudRow),
            wide=True,
        ),
    ]


def page(run: ScaleRun, drawn: Sequence[Picture]) -> str:
    """The whole page of ``run`` around the pictures ``drawn`` of it."""
    return html.page(
        f"{run.name}: scaling",
        [
            _header(run),
            _nearest(run),
            _series(run),
            figures(drawn),
            trust(run.result),
            _candidates(run),
            origin(run.settings, run.result),
        ],
    )


def _header(run: ScaleRun) -> str:
    settings = run.settings
    told = [
        f"{words} {settings[name]}"
        for name, words in (("image_size", "measured at px"), ("ratio", "width ratio"))
        if name in settings
    ]
    if "seed" in settings:
        told.append(f"seed {settings['seed']}")
    if run.finished:
        took = html.duration(run.result["wall_seconds"])
        what = f"Finished: {_steps(run)} to {run.result['budget']} in {took}."
        if run.result["reason"]:
            what += f" The end is not as near as asked: {run.result['reason']}."
    else:
        goal = f" on the way to {settings['budgets'][-1]}" if "budgets" in settings else ""
        what = f"Not finished: {_steps(run)}{goal}. The same command continues it."
    return (
        html.paragraph("asvit scale", "quiet")
        + html.heading(run.name)
        + html.paragraph(" · ".join(told), "quiet")
        + html.paragraph(what)
    )


def _nearest(run: ScaleRun) -> str:
    """One card a budget, with the model of the series that is nearest to it."""
    cards = []
    for near in run.result.get("nearest", ()):
        row = next(row for row in run.series if row.step == near["step"])
        pairs = [
            ("budget", near["budget"]),
            ("parameters", html.number(row.params)),
            ("multiply-adds", html.number(row.macs)),
            ("depths", ", ".join(map(str, row.depths))),
            ("width", str(row.width)),
            *((label(name), html.number(v) or "failed") for name, v in row.values.items()),
        ]
        cards.append(
            html.card(html.paragraph(row.architecture, "architecture"), html.facts(pairs))
        )
    title = "Nearest to the budgets" if len(cards) > 1 else "Nearest to the budget"
    return html.section(title, *cards) if cards else ""


def _series(run: ScaleRun) -> str:
    words = "The model that each step ended in. Click a heading to sort."
    if any(row.kind == "land" for row in run.series):
        words += (
            " The last step, land, is finer than the published rule: it adds what still fits so "
            "that the end is near the budget."
        )
    return html.section("Series", html.paragraph(words), html.card(_table(run, run.series)))


def _candidates(run: ScaleRun) -> str:
    others = [row for row in run.candidates if row.kind != "start"]
    table = _table(run, others, chosen=True)
    words = f"{len(others)} candidates"
    return html.section(
        "Candidates",
        html.card(html.folded(words, table, unfolded=len(others) <= OPEN_CANDIDATES)),
    )


def _table(run: ScaleRun, shown: Sequence[Row], *, chosen: bool = False) -> str:
    measures = list(run.better)
    counts = [UNIT_NAMES["params"], UNIT_NAMES["macs"]]
    numeric = ["step", "width", *counts, *map(label, measures), "rank sum"]
    columns = ["step", "kind", "architecture", "depths", "width", *counts]
    columns += [*map(label, measures), "rank sum", *(["chosen"] if chosen else [])]
    failed = {place for place, row in enumerate(shown) if row.reason}
    if failed:
        columns.append("reason")
    cells: list[list[html.Cell]] = [
        [
            row.step,
            row.kind,
            row.architecture,
            ", ".join(map(str, row.depths)),
            row.width,
            row.params,
            row.macs,
            *(row.values[name] for name in measures),
            row.rank_sum,
            *(["chosen" if row.chosen else ""] if chosen else []),
            *([row.reason] if failed else []),
        ]
        for row in shown
    ]
    return html.table(columns, cells, numeric=set(numeric), failed=failed, long=chosen)


def _ways(run: ScaleRun) -> str:
    good = {"higher": "higher", "lower": "lower"}
    parts = [f"{label(n)}: {good[way]} is better" for n, way in run.better.items() if way in good]
    return f"{'; '.join(parts)}." if parts else ""


def _steps(run: ScaleRun) -> str:
    count = max(0, len(run.series) - 1)
    return "1 step" if count == 1 else f"{count} steps"

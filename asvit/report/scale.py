"""The report of a scaling: the series, its figures with their rows, and one page with it all.

A finished run is read from its result.json, an unfinished one from steps.csv and its journal. The
same folder gives the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from asvit.core.files import read_text
from asvit.core.run_files import CANDIDATES, MEASURED, RESULT, SERIES
from asvit.core.summary import Cell
from asvit.growth.journal import GrowthJournal
from asvit.growth.result import ScaleResult
from asvit.growth.settings import ScaleSettings
from asvit.report import html
from asvit.report import scale_figures as draw
from asvit.report.correlate import trust
from asvit.report.pictures import Picture
from asvit.report.search import dimensions, direction
from asvit.report.style import label
from scaling.budget import UNIT_NAMES
from scaling.trajectory import from_csv

if TYPE_CHECKING:
    from asvit.spaces import SearchSpace
    from scaling import Row
    from scaling.ranking import Directions

OPEN_CANDIDATES = 40  # candidates up to which their table is shown unfolded


@dataclass(frozen=True)
class Scaling:
    """A finished or unfinished scaling.

    ``settings`` is None if the folder lacks them, ``result`` while the run is unfinished.
    """

    name: str
    series: Sequence[Row]
    candidates: Sequence[Row]
    settings: ScaleSettings | None = None
    result: ScaleResult | None = None

    @property
    def better(self) -> Directions:
        """The direction of each measure; "reported" for those that do not rank."""
        names = self.series[0].values if self.series else ()
        ranking = names if self.settings is None else self.settings.proxies
        return {name: direction(name) if name in ranking else "reported" for name in names}

    def space(self) -> SearchSpace | None:
        """The space of the architectures; None if it is not registered here."""
        from asvit.spaces.architectures import find

        try:
            return None if self.settings is None else find(self.settings.architecture)[0]
        except (KeyError, ValueError):
            return None


def read_scaling(folder: Path) -> Scaling:
    """Read the run folder of a scaling."""
    html.check_run(folder, "asvit scale")
    name, settings = folder.resolve().name, GrowthJournal.peek(folder / MEASURED)
    if (folder / RESULT).is_file():
        result = ScaleResult.read(folder / RESULT)
        if settings in (None, result.settings):
            return Scaling(name, result.series, result.candidates, result.settings, result)
    # No result, or one of a smaller budget: the run is unfinished.
    if not (folder / SERIES).is_file():
        raise FileNotFoundError(f"{folder} is not the folder of a scaling: it has no {SERIES}")
    series, candidates = (_read_rows(folder / table) for table in (SERIES, CANDIDATES))
    return Scaling(name, series, candidates, settings)


def _read_rows(path: Path) -> list[Row]:
    try:
        return from_csv(read_text(path))
    except FileNotFoundError:
        return []
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def scale_pictures(run: Scaling) -> list[Picture]:
    """Draw every picture of ``run``; pictures without data say so."""
    stages, sizes = draw.stage_rows(run.series), draw.size_rows(run.series)
    scores = draw.score_rows(run.candidates)
    clouds = draw.cloud_rows(run.series, run.candidates, run.better)
    ranking = [name for name, way in run.better.items() if way != "reported"]
    limits = run.settings.limits if run.settings else ()
    return [
        Picture(
            "growth",
            "Depth and width",
            "Blocks in each stage and channels of the first one, over the parameters.",
            lambda: draw.draw_growth(stages),
            (stages, draw.StageRow),
        ),
        Picture(
            "sizes",
            "Size",
            "Parameters and multiply-adds after each step; dashed lines are budgets.",
            lambda: draw.draw_sizes(
                sizes,
                budgets=[(str(limit), limit.amount) for limit in limits],
                unit=limits[0].unit if limits else "params",
            ),
            (sizes, draw.SizeRow),
        ),
        Picture(
            "measures",
            "Measures",
            "Every candidate of every step, measured at reduced width, and the chosen one.",
            lambda: draw.draw_scores(scores),
            (scores, draw.ScoreRow),
        ),
        Picture(
            "clouds",
            "Candidates",
            "What each step chose from: colour and shape tell the stage with one more block, a "
            f"larger point is wider. {_ways(run)}",
            lambda: draw.draw_clouds(clouds, (*ranking, "", "")),
            (clouds, draw.CloudRow),
            wide=True,
        ),
    ]


def page(run: Scaling, pictures: Sequence[Picture]) -> str:
    """The whole page of ``run`` with its ``pictures``."""
    return html.page(
        f"{run.name}: scaling",
        [
            _header(run),
            _nearest(run),
            _series(run),
            html.figures(pictures),
            dimensions(run.space()),
            trust(run.result.reliability if run.result else None),
            _candidates(run),
            html.origin(run.settings, run.result),
        ],
    )


def _header(run: Scaling) -> str:
    facts, goal, steps = [], "", html.count(max(0, len(run.series) - 1), "step")
    if run.settings is not None:
        facts = [
            f"measured at {run.settings.image_size} px",
            f"width ratio {run.settings.ratio}",
            f"seed {run.settings.seed}",
        ]
        goal = run.settings.budgets[-1]
    if run.result is not None:
        took = html.duration(run.result.wall_seconds)
        what = f"Finished: {steps} to {goal} in {took}."
        if run.result.reason:
            what += f" The end is not as near as asked: {run.result.reason}."
    else:
        where = f" on the way to {goal}" if goal else ""
        what = f"Not finished: {steps}{where}. The same command continues it."
    return html.header("asvit scale", run.name, facts, what)


def _nearest(run: Scaling) -> str:
    """A card for each budget with the model of the series that is nearest to it."""
    cards = []
    for budget, row in run.result.nearest() if run.result else ():
        pairs = [
            ("budget", str(budget)),
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


def _series(run: Scaling) -> str:
    words = "The model that each step ended in. Click a heading to sort."
    if any(row.kind == "land" for row in run.series):
        words += (
            " The last step, land, is finer than the published rule: it adds what still fits so "
            "that the end is near the budget."
        )
    return html.section("Series", html.paragraph(words), html.card(_table(run, run.series)))


def _candidates(run: Scaling) -> str:
    others = [row for row in run.candidates if row.kind != "start"]
    table = _table(run, others, chosen=True)
    words = f"{len(others)} candidates"
    unfolded = len(others) <= OPEN_CANDIDATES
    return html.section("Candidates", html.folded(words, table, unfolded=unfolded))


def _table(run: Scaling, rows: Sequence[Row], *, chosen: bool = False) -> str:
    measures = list(run.better)
    counts = [UNIT_NAMES["params"], UNIT_NAMES["macs"]]
    columns = ["step", "kind", "architecture", "depths", "width", *counts]
    columns += [*map(label, measures), "rank sum", *(["chosen"] if chosen else [])]
    failed = {place for place, row in enumerate(rows) if row.reason}
    if failed:
        columns.append("reason")
    table: list[list[Cell]] = [
        [
            *(row.step, row.kind, row.architecture, ", ".join(map(str, row.depths))),
            *(row.width, row.params, row.macs),
            *(row.values.get(name, math.nan) for name in measures),
            row.rank_sum,
            *(["chosen" if row.chosen else ""] if chosen else []),
            *([row.reason] if failed else []),
        ]
        for row in rows
    ]
    return html.table(columns, table, failed=failed, long=chosen)


def _ways(run: Scaling) -> str:
    ranking = {name: way for name, way in run.better.items() if way != "reported"}
    parts = [f"{label(name)}: {way} is better" for name, way in ranking.items()]
    return f"{'; '.join(parts)}." if parts else ""


write_scale_report = html.Report(read_scaling, scale_pictures, page)

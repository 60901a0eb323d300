"""The figures of a scaling with their rows, and its candidates."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import cycle, groupby, pairwise

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from asvit.core.summary import Table
from asvit.growth.result import ScaleResult
from asvit.report import style
from asvit.report.pictures import Picture
from asvit.report.search import direction, legend
from asvit.report.style import COLOUR, label
from scaling import Row
from scaling.ranking import Directions

NO_STAGE, SEVERAL = 0, -1  # of a candidate without more blocks, or with several
MOST_CLOUDS = 12  # steps whose candidates are shown


def pictures(result: ScaleResult) -> list[Picture]:
    """Draw every picture of a scaling; pictures without data say so."""
    better = _better(result)
    stages, sizes = stage_rows(result.series), size_rows(result.series)
    scores = score_rows(result.candidates)
    clouds = cloud_rows(result.series, result.candidates, better)
    ranking = [name for name, way in better.items() if way != "reported"]
    limits, steps = result.settings.limits, len({row.step for row in clouds})
    some = f" {MOST_CLOUDS} of {steps} steps, evenly spaced; clouds.csv has all."
    some = some if steps > MOST_CLOUDS else ""
    lines = "" if result.settings.timed else "; dashed lines are budgets"
    return [
        Picture(
            "growth",
            "Depth and width",
            "Blocks in each stage and channels of the first one, over the parameters.",
            lambda: draw_growth(stages),
            (stages, StageRow),
        ),
        Picture(
            "sizes",
            "Size",
            f"Parameters and multiply-adds after each step{lines}.",
            lambda: draw_sizes(
                sizes,
                budgets=[(str(limit), limit.amount) for limit in limits],
                unit=limits[0].unit,
            ),
            (sizes, SizeRow),
        ),
        Picture(
            "measures",
            "Measures",
            "Every candidate of every step, measured at reduced width, and the chosen one.",
            lambda: draw_scores(scores),
            (scores, ScoreRow),
        ),
        Picture(
            "clouds",
            "Candidates",
            "What each step chose from: colour and shape tell the stage with one more block, a "
            f"larger point is wider. {_ways(better)}{some}",
            lambda: draw_clouds(clouds, ranking),
            (clouds, CloudRow),
            wide=True,
        ),
    ]


def _better(result: ScaleResult) -> Directions:
    """The direction of each measure; "reported" for those that do not rank."""
    ranking = result.settings.proxies
    return {
        name: direction(name) if name in ranking else "reported"
        for name in result.series[0].values
    }


def _ways(better: Directions) -> str:
    ranking = {name: way for name, way in better.items() if way != "reported"}
    parts = [f"{label(name)}: {way} is better" for name, way in ranking.items()]
    return f"{'; '.join(parts)}." if parts else ""


def details(result: ScaleResult) -> Iterator[Table]:
    """The letters in the architectures, and every candidate."""
    from asvit.spaces.architectures import find

    with suppress(KeyError, ValueError):  # of a space that is not registered here
        yield from legend(find(result.settings.architecture)[0])
    measures = list(result.series[0].values)
    columns = ["step", "kind", "architecture", "depths", "width", "params", "multiply-adds"]
    rows = [
        [
            *(row.step, row.kind, row.architecture, ", ".join(map(str, row.depths)), row.width),
            *(row.params, row.macs, *(row.values.get(name) for name in measures), row.rank_sum),
            *("chosen" if row.chosen else "", row.reason),
        ]
        for row in result.candidates
        if row.kind != "start"
    ]
    yield Table([*columns, *measures, "rank sum", "chosen", "reason"], rows, "Candidates")


@dataclass(frozen=True)
class StageRow:
    """Blocks in one stage of the model that a step ended in, with the width of the model."""

    step: int
    params: int
    stage: int
    depth: int
    width: int


@dataclass(frozen=True)
class SizeRow:
    """Size of the model that a step ended in."""

    step: int
    params: int
    macs: int


@dataclass(frozen=True)
class ScoreRow:
    """One measure of one candidate of a step; NaN where it failed."""

    step: int
    measure: str
    value: float
    chosen: bool


@dataclass(frozen=True)
class CloudRow:
    """A candidate in the plane of two measures.

    ``stage``, counted from 1, is the one that got one more block; it is 0 where none did, and -1
    where there are several more. ``width`` is the number of channels of the first stage.
    """

    step: int
    architecture: str
    stage: int
    width: int
    x: float
    y: float
    chosen: bool


def stage_rows(series: Iterable[Row]) -> list[StageRow]:
    """Depths and widths over the series."""
    return [
        StageRow(row.step, row.params, stage, depth, row.width)
        for row in series
        for stage, depth in enumerate(row.depths, 1)
    ]


def size_rows(series: Iterable[Row]) -> list[SizeRow]:
    """Parameters and multiply-adds over the series."""
    return [SizeRow(row.step, row.params, row.macs) for row in series]


def score_rows(candidates: Sequence[Row]) -> list[ScoreRow]:
    """Every measure of every candidate, measure by measure."""
    measures = list(candidates[0].values) if candidates else []
    return [
        ScoreRow(row.step, name, row.values[name], row.chosen)
        for name in measures
        for row in candidates
    ]


def cloud_rows(
    series: Sequence[Row], candidates: Iterable[Row], better: Mapping[str, str]
) -> list[CloudRow]:
    """The candidates of every step in the plane of the first two measures that rank them.

    The start and failed candidates are left out. Empty if fewer than two measures rank.
    """
    names = [name for name, way in better.items() if way != "reported"][:2]
    if len(names) < 2:
        return []
    before = {after.step: row.depths for row, after in pairwise(series)}
    return [
        CloudRow(row.step, row.architecture, _deepened(before[row.step], row.depths), row.width,
                 x, y, row.chosen)
        for row in candidates
        if row.step in before
        for x, y in [[row.values[name] for name in names]]
        if math.isfinite(x) and math.isfinite(y)
    ]  # fmt: skip


def _deepened(before: Sequence[int], after: Sequence[int]) -> int:
    """The stage with one more block, counted from 1; else ``NO_STAGE`` or ``SEVERAL``."""
    pairs = enumerate(zip(before, after, strict=True), 1)
    more = {stage: b - a for stage, (a, b) in pairs if b > a}
    return SEVERAL if sum(more.values()) > 1 else next(iter(more), NO_STAGE)


def draw_growth(rows: Sequence[StageRow]) -> Figure:
    """Depth of every stage, and the width, over the parameters of the series."""
    fig = style.figure(height=4.2)
    above, below = fig.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    stages = sorted({row.stage for row in rows})
    for stage, (colour, line, mark) in zip(stages, cycle(style.series_styles()), strict=False):
        own = [row for row in rows if row.stage == stage]
        above.plot(
            [row.params / 1e6 for row in own],
            # Offset the depths, which are integers and often equal.
            [row.depth + 0.05 * (stage - (1 + len(stages)) / 2) for row in own],
            color=colour,
            drawstyle="steps-post",
            linestyle=line,
            marker=mark,
            markersize=4,
            label=f"stage {stage}",
        )
    style.whole(above.yaxis)
    above.set_ylabel("blocks")
    own = [row for row in rows if row.stage == stages[0]]
    params, widths = [row.params / 1e6 for row in own], [row.width for row in own]
    below.plot(params, widths, color=COLOUR["second"], marker="o", markersize=3)
    below.set_ylabel("width")
    below.set_xlabel("parameters (million)")
    style.log_scale(below, "x", params)
    style.legend(fig)
    return fig


def draw_sizes(
    rows: Sequence[SizeRow], *, budgets: Sequence[tuple[str, int]] = (), unit: str = "params"
) -> Figure:
    """Parameters and multiply-adds over steps; each budget, in its ``unit``, is a dashed line."""
    fig = style.figure(height=4.2)
    steps, both = [row.step for row in rows], style.panels(fig, 2, columns=1, sharex=True)
    units = (("params", "parameters (million)", 1e6), ("macs", "multiply-adds (billion)", 1e9))
    for axes, (name, words, scale) in zip(both, units, strict=True):
        values = [getattr(row, name) / scale for row in rows]
        axes.plot(steps, values, color=COLOUR["first"], marker="o", markersize=3.5)
        lines = [(text, amount / scale) for text, amount in budgets if name == unit]
        for text, amount in lines:
            axes.axhline(amount, color=COLOUR["muted"], linewidth=1, linestyle=(0, (3, 3)))
            where = ("axes fraction", "data")
            style.remark(axes, text, (0, amount), (3, -3), xycoords=where, va="top")
        axes.set_ylabel(words)
        style.log_scale(axes, "y", [*values, *(amount for _, amount in lines)])
    style.count_steps(both[-1])
    return fig


def draw_scores(rows: Sequence[ScoreRow]) -> Figure:
    """Every measure over steps: all candidates, and a line through the chosen ones."""

    def draw(axes: Axes, _: Sequence[ScoreRow], good: Sequence[ScoreRow]) -> None:
        others = [row for row in good if not row.chosen]
        places = style.pairs(others, "step", "value")
        style.dots(axes, *places, s=9, alpha=0.6, label="other candidates")
        chosen = style.pairs([row for row in good if row.chosen], "step", "value")
        axes.plot(*chosen, color=COLOUR["second"], marker="o", markersize=3.5, label="chosen")

    return style.draw_series(rows, draw, each=2.1)


def draw_clouds(rows: Sequence[CloudRow], measures: Sequence[str]) -> Figure:
    """The candidates of each step in the plane of two measures: a panel a step.

    ``measures`` are those of the x and the y axis.
    """
    steps = {step: list(group) for step, group in groupby(rows, key=lambda row: row.step)}
    if not steps:
        return style.empty("there are no steps with two measures to show", height=1.2)
    selected = style.thinned(list(steps), MOST_CLOUDS)
    fig = style.figure(width=10.4, height=1.0 + 2.1 * math.ceil(len(selected) / 4))
    handles_by_name: dict[str, Artist] = {}
    for axes, step in zip(style.panels(fig, len(selected), columns=4), selected, strict=True):
        axes.set_title(f"step {step}")
        _cloud(axes, steps[step])
        handles, texts = axes.get_legend_handles_labels()
        handles_by_name |= dict(zip(texts, handles, strict=True))
    fig.supxlabel(style.label(measures[0]), fontsize=style.SMALL, color=COLOUR["muted"])
    fig.supylabel(style.label(measures[1]), fontsize=style.SMALL, color=COLOUR["muted"])
    order = sorted(handles_by_name)
    fig.legend(
        [handles_by_name[text] for text in order],
        order,
        loc="outside upper right",
        ncols=len(order),
        handletextpad=0.2,
        columnspacing=1.0,
    )
    return fig


def _cloud(axes: Axes, rows: Sequence[CloudRow]) -> None:
    """Candidates of one step: colour for the deepened stage, size for the width."""
    styles = style.series_styles()
    widths = sorted({row.width for row in rows})
    words = {NO_STAGE: "width alone", SEVERAL: "several more"}
    for stage in sorted({row.stage for row in rows}):
        own = [row for row in rows if row.stage == stage]
        alone = stage == NO_STAGE
        colour, _, mark = styles[(stage - 1) % len(styles)]
        style.dots(
            axes,
            *style.pairs(own, "x", "y"),
            s=[14 + 34 * (widths.index(row.width) + 1) / len(widths) for row in own],
            alpha=None,
            color=COLOUR["muted"] if alone else colour,
            marker="x" if alone else mark,
            linewidths=1 if alone else 0,
            label=words.get(stage, f"one more in stage {stage}"),
        )
    axes.scatter(
        *style.pairs([row for row in rows if row.chosen], "x", "y"),
        s=110,
        facecolors="none",
        edgecolors=COLOUR["bad"],
        linewidths=1.5,
        label="chosen",
    )
    axes.xaxis.set_major_locator(MaxNLocator(nbins=3))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4))
    axes.margins(0.12)

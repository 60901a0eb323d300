"""The figures of a search: their rows and how these are drawn.

A step is the number of a trial in trials.csv, from 0. Failed trials keep their number and show as
gaps in a curve.
"""

from __future__ import annotations

import math
import statistics
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, groupby
from typing import TYPE_CHECKING

from asvit.report import style
from asvit.report.style import COLOUR
from asvit.search.rows import non_dominated

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from asvit.search.rows import Trials
    from scaling.ranking import Directions

WINDOW = 20  # trials; also the window over which the search scales its rewards
CHOICE_WINDOW = 50  # trials over which frequencies of choices are counted


@dataclass(frozen=True)
class EntropyRow:
    """Joint entropy of the policy, in nats, when it drew the architecture of ``step``."""

    step: int
    entropy: float


def entropy_rows(trials: Trials) -> list[EntropyRow]:
    """The policy's entropy over steps; empty for a controller that has none."""
    return [
        EntropyRow(step, trial.entropy)
        for step, trial in enumerate(trials)
        if math.isfinite(trial.entropy)
    ]


def draw_entropy(rows: Sequence[EntropyRow], *, uniform: float | None = None) -> Figure:
    """Entropy of the policy over steps, in nats; ``uniform`` is that of the uniform policy."""
    if not rows:
        return style.empty("this controller has no policy whose entropy could be shown")
    fig = style.figure()
    axes = fig.subplots()
    if uniform is not None:
        axes.axhline(uniform, color=COLOUR["muted"], linewidth=1, linestyle=(0, (3, 3)))
        where = ("axes fraction", "data")
        style.remark(
            axes, f"uniform: {uniform:.2f}", (1, uniform), (0, 3), xycoords=where, ha="right"
        )
    steps, values = style.pairs(rows, "step", "entropy")
    axes.plot(steps, values, color=COLOUR["first"], marker="o" if len(rows) == 1 else "")
    axes.set_ylim(0, 1.08 * max(*values, uniform or 0.0, 1e-9))
    axes.set_ylabel("entropy of the policy (nats)")
    style.count_steps(axes)
    return fig


@dataclass(frozen=True)
class StandingRow:
    """The percentile of an architecture within the run by one measure, and a moving mean of it.

    ``standing`` is the share of the run's architectures, in per cent, that it beats, ties counted
    half: 50 is the median, and 0 a failure. ``average`` is over the last ``WINDOW`` steps.
    """

    step: int
    measure: str
    standing: float
    average: float


def standing_rows(trials: Trials, better: Directions) -> list[StandingRow]:
    """The standings over steps by every measure that has a direction."""
    rows = []
    for name, way in better.items():
        if way == "reported":
            continue
        sign = 1.0 if way == "higher" else -1.0
        signed = (sign * trial.values.get(name, math.nan) for trial in trials)
        values = [value if math.isfinite(value) else -math.inf for value in signed]
        order = sorted(values)
        half = 50 / len(values) if values else 0.0
        standings = [
            half * (bisect_left(order, value) + bisect_right(order, value))
            if value > -math.inf
            else 0.0
            for value in values
        ]
        for step, standing in enumerate(standings):
            window = standings[max(0, step + 1 - WINDOW) : step + 1]
            rows.append(StandingRow(step, name, standing, statistics.fmean(window)))
    return rows


def draw_standings(rows: Sequence[StandingRow]) -> Figure:
    """The moving means of the standings over steps: a line for each measure."""
    if not rows:
        return style.empty("no measure has a better side")
    fig = style.figure()
    axes = fig.subplots()
    axes.axhline(50, color=COLOUR["muted"], linewidth=1, linestyle=(0, (3, 3)))
    series = {name: list(group) for name, group in groupby(rows, key=lambda row: row.measure)}
    for (name, group), (colour, line, mark) in zip(
        series.items(), cycle(style.series_styles()), strict=False
    ):
        steps, averages = style.pairs(group, "step", "average")
        shape = {"color": colour, "linestyle": line, "marker": mark if len(steps) == 1 else ""}
        axes.plot(steps, averages, label=style.label(name), **shape)
    axes.set_ylim(0, 100)
    axes.set_ylabel("better than ... % of the run")
    style.count_steps(axes)
    style.legend(fig)
    return fig


@dataclass(frozen=True)
class MeasureRow:
    """One measure of one architecture, and its median over the last ``WINDOW`` trials.

    ``value`` is NaN where the measure failed, ``median`` where all values of the window are NaN.
    """

    step: int
    measure: str
    value: float
    median: float


def measure_rows(trials: Trials, measures: Sequence[str]) -> list[MeasureRow]:
    """Every measure over steps with its moving median, measure by measure."""
    rows = []
    for name in measures:
        values = [trial.values.get(name, math.nan) for trial in trials]
        for step, value in enumerate(values):
            recent = values[max(0, step + 1 - WINDOW) : step + 1]
            window = [v for v in recent if math.isfinite(v)]
            middle = statistics.median(window) if window else math.nan
            rows.append(MeasureRow(step, name, value, middle))
    return rows


def draw_measures(rows: Sequence[MeasureRow]) -> Figure:
    """Every measure over steps, one below the other, with its moving median and its failures."""

    def draw(axes: Axes, group: Sequence[MeasureRow], good: Sequence[MeasureRow]) -> None:
        style.dots(axes, *style.pairs(good, "step", "value"))
        medians = style.pairs(group, "step", "median")
        axes.plot(*medians, color=COLOUR["second"], label="moving median")
        failed = [row.step for row in group if not math.isfinite(row.value)]
        if failed:
            axes.plot(
                failed,
                [0.0] * len(failed),
                "|",
                color=COLOUR["bad"],
                markersize=9,
                transform=axes.get_xaxis_transform(),
                clip_on=False,
                label="failed",
            )

    return style.draw_series(rows, draw, each=1.9)


@dataclass(frozen=True)
class PointRow:
    """An architecture in the plane of two measures, and whether it is on their Pareto front."""

    step: int
    architecture: str
    x: float
    y: float
    on_front: bool


def point_rows(trials: Trials, better: Directions) -> list[PointRow]:
    """Architectures in the plane of the first two measures of ``better``, in order of the steps.

    Architectures without both values are left out. A measure that is only reported does not
    count, so every point that is best in the other measure is on the front.
    """
    if len(better) < 2:
        return []
    (x_name, x_better), (y_name, y_better) = list(better.items())[:2]
    finite = [
        (step, trial.architecture, x, y)
        for step, trial in enumerate(trials)
        for x, y in [[trial.values.get(name, math.nan) for name in (x_name, y_name)]]
        if math.isfinite(x) and math.isfinite(y)
    ]
    best = non_dominated([(x, y) for _, _, x, y in finite], (x_better, y_better))
    return [PointRow(*point, on_front=bool(on)) for point, on in zip(finite, best, strict=True)]


def draw_points(
    rows: Sequence[PointRow], measures: tuple[str, str], *, seed: tuple[float, float] | None = None
) -> Figure:
    """Architectures in the plane of two measures: shade is time, the line is the front.

    ``measures`` are those of the x and the y axis, ``seed`` the values of the search's result.
    """
    if not rows:
        return style.empty("no architecture has both measures", height=3.8)
    fig = style.figure(height=3.8)
    axes = fig.subplots()
    quarter = math.ceil(len(rows) / 4)
    for start, colour in zip(range(0, len(rows), quarter), style.levels(5)[1:], strict=False):
        part = rows[start : start + quarter]
        name = f"steps {part[0].step}–{part[-1].step}" if part[1:] else f"step {part[0].step}"
        size = 24 if len(rows) <= 60 else 14
        places = style.pairs(part, "x", "y")
        style.dots(axes, *places, s=size, alpha=None, color=colour, label=name)
    best = sorted({(row.x, row.y) for row in rows if row.on_front})
    axes.plot(
        [x for x, _ in best],
        [y for _, y in best],
        color=COLOUR["second"],
        linewidth=1.2,
        marker="o",
        markersize=4.5,
        markerfacecolor="none",
        label="front",
    )
    if seed is not None and all(map(math.isfinite, seed)):
        axes.scatter(
            *seed,
            marker="*",
            s=130,
            color=COLOUR["bad"],
            linewidths=0,
            zorder=5,
            label="seed architecture",
        )
    style.log_scale(axes, "x", [row.x for row in rows])
    style.log_scale(axes, "y", [row.y for row in rows])
    axes.set_xlabel(style.label(measures[0]))
    axes.set_ylabel(style.label(measures[1]))
    style.legend(fig)
    return fig


@dataclass(frozen=True)
class ChoiceRow:
    """Share of the last ``CHOICE_WINDOW`` architectures with ``choice`` in ``dimension``."""

    step: int
    dimension: str
    choice: str
    frequency: float


def choice_rows(
    trials: Trials,
    encode: Callable[[str], Mapping[str, object]],
    dimensions: Mapping[str, Sequence[object]],
    *,
    most: int = 100,
) -> list[ChoiceRow]:
    """The recent frequency of each choice, at no more than ``most`` evenly spaced steps.

    ``encode`` maps an architecture's text to its choices; ``dimensions`` lists all choices in
    order. The last step is always included.
    """
    count = len(trials)
    ends = sorted({round((i + 1) * count / min(count, most)) for i in range(min(count, most))})
    windows = {
        end - 1: [
            encode(trial.architecture) for trial in trials[max(0, end - CHOICE_WINDOW) : end]
        ]
        for end in ends
    }
    rows = []
    for name, choices in dimensions.items():
        for step, window in windows.items():
            counts = Counter(str(params[name]) for params in window)
            rows += [
                ChoiceRow(step, name, str(choice), counts[str(choice)] / len(window))
                for choice in choices
            ]
    return rows


def draw_choices(rows: Sequence[ChoiceRow]) -> Figure:
    """Share of each choice over steps: a panel per dimension, shades in the choices' order."""
    series = {name: list(group) for name, group in groupby(rows, key=lambda row: row.dimension)}
    if not series:
        return style.empty("this space is not known here", height=1.2)
    fig = style.figure(width=10.4, height=0.5 + 1.6 * math.ceil(len(series) / 4))
    words = f"share of the last {CHOICE_WINDOW} architectures"
    fig.supylabel(words, fontsize=style.SMALL, color=COLOUR["muted"])
    fig.supxlabel("step", fontsize=style.SMALL, color=COLOUR["muted"])
    grid = style.panels(fig, len(series), columns=4, sharex=True, sharey=True)
    for axes, (name, group) in zip(grid, series.items(), strict=True):
        axes.set_title(name)
        _stack(axes, group)
    return fig


def _stack(axes: Axes, rows: Sequence[ChoiceRow]) -> None:
    """Fill ``axes`` with the shares of one dimension's choices and name each at the right edge."""
    choices = list(dict.fromkeys(row.choice for row in rows))
    steps = sorted({row.step for row in rows})
    shares = [[row.frequency for row in rows if row.choice == choice] for choice in choices]
    if len(steps) == 1:  # one step has no width: draw it as a band
        steps, shares = [0, steps[0] + 1], [share * 2 for share in shares]
    axes.stackplot(steps, shares, colors=style.levels(len(choices)), linewidth=0, labels=choices)
    axes.legend(
        loc="lower right",
        bbox_to_anchor=(1.04, 0.97),
        ncols=len(choices),
        fontsize=style.SMALL,
        handlelength=0.7,
        handleheight=0.7,
        handletextpad=0.3,
        columnspacing=0.7,
    )
    axes.set(
        xlim=(steps[0], steps[-1]), ylim=(0, 1), yticks=[0, 0.5, 1], yticklabels=["0", "½", "1"]
    )
    axes.grid(visible=False)

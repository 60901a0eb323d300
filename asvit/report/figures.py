"""The pictures of a search. Each function takes rows and returns a figure of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from asvit.report.axes import count_steps, dots, legend, log_scale
from asvit.report.rows import CHOICE_WINDOW, ChoiceRow, EntropyRow, MeasureRow, PointRow, RewardRow
from asvit.report.style import COLOUR, SMALL, figure, levels, note
from proxies.messages import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LABELS = {
    "length_distortion": "length distortion",
    "ntk_condition_number": "NTK condition number",
    "extrinsic_curvature": "extrinsic curvature",
    "gauss_map_length": "Gauss-map length",
    "params": "parameters",
    "macs": "multiply-adds",
}

LONGEST = 40  # characters of a name from outside that a figure has room for


def label(measure: str) -> str:
    """The name of ``measure`` as people write it."""
    return LABELS.get(measure) or one_line(measure.replace("_", " "), most=LONGEST)


def draw_entropy(rows: Sequence[EntropyRow], *, uniform: float | None = None) -> Figure:
    """Entropy of the policy over steps; ``uniform`` marks that of the uniform one, in nats."""
    made = figure()
    axes = made.subplots()
    if not rows:
        note(axes, "this controller has no policy whose entropy could be shown")
        return made
    if uniform is not None:
        axes.axhline(uniform, color=COLOUR["muted"], linewidth=1, linestyle=(0, (3, 3)))
        axes.annotate(
            f"uniform: {uniform:.2f}",
            (1, uniform),
            xycoords=("axes fraction", "data"),
            xytext=(0, 3),
            textcoords="offset points",
            ha="right",
            fontsize=SMALL,
            color=COLOUR["muted"],
        )
    steps, values = [row.step for row in rows], [row.entropy for row in rows]
    axes.plot(steps, values, color=COLOUR["first"], marker="o" if len(rows) == 1 else "")
    axes.set_ylim(0, 1.08 * max(*values, uniform or 0.0, 1e-9))
    axes.set_ylabel("entropy of the policy (nats)")
    count_steps(axes)
    return made


def draw_reward(rows: Sequence[RewardRow]) -> Figure:
    """Rewards over steps and their moving average."""
    made = figure()
    axes = made.subplots()
    if not rows:
        note(axes, "this controller learns from no reward")
        return made
    steps = [row.step for row in rows]
    axes.axhline(0, color=COLOUR["muted"], linewidth=0.8)
    dots(axes, steps, [row.reward for row in rows])
    averages = [row.average for row in rows]
    axes.plot(steps, averages, color=COLOUR["second"], label="moving average")
    axes.set_ylabel("reward")
    count_steps(axes)
    legend(made)
    return made


def draw_measures(rows: Sequence[MeasureRow]) -> Figure:
    """Every measure over steps, one below the other, with its moving median and its failures."""
    series = {name: list(group) for name, group in groupby(rows, key=lambda row: row.measure)}
    made = figure(height=max(2.2, 1.9 * len(series)))
    if not series:
        note(made.subplots(), "nothing has been measured yet")
        return made
    panels = made.subplots(len(series), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (name, group) in zip(panels, series.items(), strict=True):
        axes.set_title(label(name))
        good = [row for row in group if math.isfinite(row.value)]
        failed = [row.step for row in group if not math.isfinite(row.value)]
        dots(axes, [row.step for row in good], [row.value for row in good])
        axes.plot(
            [row.step for row in group],
            [row.median for row in group],
            color=COLOUR["second"],
            label="moving median",
        )
        log_scale(axes, "y", [row.value for row in good])
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
    count_steps(panels[-1])
    legend(made)
    return made


def draw_points(
    rows: Sequence[PointRow], measures: tuple[str, str], *, seed: tuple[float, float] | None = None
) -> Figure:
    """Architectures in the plane of two measures: shade is time, the line is the front.

    Args:
        rows: The architectures, in the order of their steps.
        measures: Names of the two measures, across and up.
        seed: Values of the search's result, when it was measured.
    """
    made = figure(height=3.8)
    axes = made.subplots()
    if not rows:
        note(axes, "no architecture has both measures")
        return made
    quarter = math.ceil(len(rows) / 4)
    for start, colour in zip(range(0, len(rows), quarter), levels(5)[1:], strict=False):
        part = rows[start : start + quarter]
        axes.scatter(
            [row.x for row in part],
            [row.y for row in part],
            s=24 if len(rows) <= 60 else 14,
            linewidths=0,
            color=colour,
            label=f"steps {part[0].step}–{part[-1].step}" if part[1:] else f"step {part[0].step}",
        )
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
    log_scale(axes, "x", [row.x for row in rows])
    log_scale(axes, "y", [row.y for row in rows])
    axes.set_xlabel(label(measures[0]))
    axes.set_ylabel(label(measures[1]))
    legend(made)
    return made


def draw_choices(rows: Sequence[ChoiceRow], *, columns: int = 4) -> Figure:
    """Share of each choice over steps: a panel per dimension, shades in the choices' order."""
    panels: Mapping[str, list[ChoiceRow]] = {
        name: list(group) for name, group in groupby(rows, key=lambda row: row.dimension)
    }
    if not panels:
        made = figure(height=1.2)
        note(made.subplots(), "nothing has been drawn yet")
        return made
    lines = math.ceil(len(panels) / columns)
    made = figure(width=10.4, height=0.5 + 1.6 * lines)
    made.supylabel(
        f"share of the last {CHOICE_WINDOW} architectures", fontsize=SMALL, color=COLOUR["muted"]
    )
    made.supxlabel("step", fontsize=SMALL, color=COLOUR["muted"])
    grid = made.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).ravel().tolist()
    for axes, (name, group) in zip(grid, panels.items(), strict=False):
        axes.set_title(name)
        _stack(axes, group)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    return made


def _stack(axes: Axes, rows: Sequence[ChoiceRow]) -> None:
    """Fill ``axes`` with the shares of one dimension's choices and name each at the right edge."""
    choices = list(dict.fromkeys(row.choice for row in rows))
    steps = sorted({row.step for row in rows})
    shares = [[row.frequency for row in rows if row.choice == choice] for choice in choices]
    if len(steps) == 1:  # one step has no width: draw it as a band
        steps, shares = [0, steps[0]], [share * 2 for share in shares]
    axes.stackplot(steps, shares, colors=levels(len(choices)), linewidth=0, labels=choices)
    axes.legend(
        loc="lower right",
        bbox_to_anchor=(1.04, 0.97),
        ncols=len(choices),
        fontsize=SMALL,
        handlelength=0.7,
        handleheight=0.7,
        handletextpad=0.3,
        columnspacing=0.7,
    )
    axes.set(
        xlim=(steps[0], steps[-1]), ylim=(0, 1), yticks=[0, 0.5, 1], yticklabels=["0", "½", "1"]
    )
    axes.grid(visible=False)

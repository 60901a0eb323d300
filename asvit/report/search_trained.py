"""What the report of a search that trains has of its own: the predictions, and their trust."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from asvit.core.summary import Cell
from asvit.report import html
from asvit.report.pictures import Picture
from asvit.report.style import COLOUR, empty, figure, log_scale, pairs
from asvit.search.rows import Confirmed, HeldOut, PredictorCheck
from asvit.search.settings import ACCURACY

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from asvit.search.result import SearchResult


def predicted_picture(check: PredictorCheck) -> Picture:
    """Accuracies beside what predictors expected that were not shown them."""
    return Picture(
        "predicted",
        "Predicted and measured",
        "Every architecture: the accuracy that was measured, the mean of its trainings, over that "
        "which predictors expected that were fitted to others alone, with their standard "
        "deviation. On the line both are equal. Filled points were trained several times.",
        lambda: draw_predicted(check.rows),
        (check.rows, HeldOut),
    )


def draw_predicted(rows: Sequence[HeldOut]) -> Figure:
    """Measured over predicted accuracy, per cent."""
    if not rows:
        return empty("too few architectures were trained", height=3.8)
    made = figure(height=3.8)
    axes = made.subplots()
    ends = [f(f(one.accuracy, one.predicted) for one in rows) for f in (min, max)]
    axes.plot(ends, ends, color=COLOUR["muted"], linewidth=1, linestyle=(0, (3, 3)))
    colour = COLOUR["first"]
    for one in rows:
        std = one.std if math.isfinite(one.std) else 0.0
        axes.errorbar(
            one.predicted, one.accuracy, xerr=std, color=colour, elinewidth=0.6, alpha=0.5
        )
    filled = [colour if one.trainings > 1 else "none" for one in rows]
    axes.scatter(
        *pairs(rows, "predicted", "accuracy"),
        s=22,
        facecolors=filled,
        edgecolors=colour,
        zorder=3,
    )
    axes.set(xlabel="predicted accuracy (%)", ylabel="measured accuracy (%)")
    return made


@dataclass(frozen=True)
class CostRow:
    """An architecture that none with as few multiply-adds beats."""

    architecture: str
    params: int
    macs: int
    trainings: int
    accuracy: float  # per cent: predicted, or the mean of its trainings without a predictor
    retrained: float  # mean of fresh trainings; NaN where it had none, as are the ends
    low: float  # lower end of their 90 % interval
    high: float  # upper end


def cost_picture(result: SearchResult) -> Picture:
    """The best accuracy to expect for so many multiply-adds."""
    rows = []
    for one in result.tradeoff:
        accuracy = one.predicted if math.isfinite(one.predicted) else one.values[ACCURACY]
        again = one.confirmed or Confirmed(math.nan, math.nan, math.nan, 0)
        size = one.params, one.macs, one.trainings
        ends = again.mean, again.low, again.high
        rows.append(CostRow(one.architecture, *size, accuracy, *ends))
    predicted = any(math.isfinite(one.predicted) for one in result.tradeoff)
    expected = "predicted accuracy" if predicted else "mean accuracy"
    return Picture(
        "front",
        "Accuracy and cost",
        f"Trained architectures that none with as few multiply-adds beats, by {expected}, which "
        "is too high on average. Open points: fresh trainings of finalists, with the 90 % "
        "interval of their accuracy.",
        lambda: draw_costs(rows, expected),
        (rows, CostRow),
    )


def draw_costs(rows: Sequence[CostRow], expected: str) -> Figure:
    """Expected accuracy, per cent, over multiply-adds."""
    if not rows:
        return empty("no training succeeded", height=3.8)
    made = figure(height=3.8)
    axes = made.subplots()
    macs, means = [one.macs / 1e6 for one in rows], [one.accuracy for one in rows]
    axes.plot(macs, means, color=COLOUR["first"], linewidth=1.2)
    again = [one for one in rows if math.isfinite(one.retrained)]
    if again:
        axes.errorbar(
            [one.macs / 1e6 for one in again],
            [one.retrained for one in again],
            yerr=[
                [one.retrained - one.low for one in again],
                [one.high - one.retrained for one in again],
            ],
            color=COLOUR["first"],
            fmt="o",
            mfc="none",
            elinewidth=0.8,
        )
    axes.scatter(macs, means, s=26, color=COLOUR["first"], zorder=3)
    axes.set(xlabel="multiply-adds (million)", ylabel=f"{expected} (%)")
    log_scale(axes, "x", macs)
    return made


def finalists(result: SearchResult) -> str:
    """The best architectures, the seed first, and how far their predictions can be trusted."""
    columns = ["architecture", "parameters", "multiply-adds", "trainings", "mean"]
    predicted = any(math.isfinite(one.predicted) for one in result.finalists)
    again = result.confirmed is not None
    cells: list[list[Cell]] = [
        [
            *(one.architecture, one.params, one.macs, one.trainings, one.values[ACCURACY]),
            *([one.predicted] * predicted),
            *([one.confirmed.in_words if one.confirmed else ""] * again),
        ]
        for one in result.seed_first
    ]
    columns += ["predicted"] * predicted + ["retrained [90 %]"] * again
    words = f"The first is the seed architecture. {result.accuracies_in_words}"
    parts = [html.paragraph(f"Accuracies are per cent, on images held out. {words}")]
    if result.predictor is not None:
        told = result.predictor.in_words
        parts.append(html.paragraph(f"{told[0].upper()}{told[1:]}."))
    shown = html.table(columns, cells)
    return html.section("Finalists", *parts, html.card(shown))

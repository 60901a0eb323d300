"""What the report of a search that trains has of its own: the predictions, and their trust."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from asvit.core.console import with_interval
from asvit.report import html
from asvit.report.pictures import Picture
from asvit.report.style import COLOUR, empty, figure, log_scale, pairs, tell
from asvit.search.rows import HeldOut, Prediction, PredictorCheck
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
    drawn = axes.scatter(
        *pairs(rows, "predicted", "accuracy"),
        s=22,
        facecolors=filled,
        edgecolors=colour,
        zorder=3,
    )
    told = (
        f"{one.architecture}: measured {one.accuracy:.4g} %, predicted {one.predicted:.4g} %"
        for one in rows
    )
    tell(drawn, told)
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
    low: float  # ends of the interval of a prediction, else the same
    high: float


def cost_picture(result: SearchResult) -> Picture:
    """The best accuracy to expect for so many multiply-adds."""
    rows = []
    for one in result.tradeoff:
        mean = one.values[ACCURACY]
        found = one.predicted or Prediction(mean, mean, mean)
        size = one.params, one.macs, one.trainings
        rows.append(CostRow(one.architecture, *size, found.mean, found.low, found.high))
    expected = "predicted accuracy" if result.prediction else "mean accuracy"
    return Picture(
        "front",
        "Accuracy and cost",
        f"Trained architectures that none with as few multiply-adds beats: {expected}, with the "
        "90 % interval of a prediction. The seed architecture is the last.",
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
    ends = [[one.accuracy - one.low for one in rows], [one.high - one.accuracy for one in rows]]
    axes.errorbar(macs, means, yerr=ends, color=COLOUR["first"], linewidth=1.2, elinewidth=0.8)
    drawn = axes.scatter(macs, means, s=26, color=COLOUR["first"], zorder=3)
    tell(drawn, (f"{one.architecture}: {one.accuracy:.4g} %" for one in rows))
    axes.set(xlabel="multiply-adds (million)", ylabel=f"{expected} (%)")
    log_scale(axes, "x", macs)
    return made


def finalists(result: SearchResult) -> str:
    """The best architectures, the seed first, and how far their predictions can be trusted."""
    columns, numeric = ["architecture"], ["parameters", "multiply-adds", "trainings", "accuracy"]
    predicted = result.prediction is not None
    cells: list[list[html.Cell]] = [
        [
            *(one.architecture, one.params, one.macs, one.trainings, one.values[ACCURACY]),
            *([in_words(one.predicted)] * predicted),
        ]
        for one in result.seed_first
    ]
    columns += [*numeric, *["predicted [90 %]"] * predicted]
    words = "The first is the seed architecture: the one with the highest " + (
        "prediction. The predictor is fitted to all trainings."
        if predicted
        else "mean accuracy over its trainings."
    )
    parts = [html.paragraph(f"Accuracies are per cent, on images held out. {words}")]
    if result.predictor is not None:
        told = result.predictor.in_words
        parts.append(html.paragraph(f"{told[0].upper()}{told[1:]}."))
    shown = html.table(columns, cells, numeric=set(numeric))
    return html.section("Finalists", *parts, html.card(shown))


def in_words(prediction: Prediction | None) -> str:
    """A prediction with its interval."""
    if prediction is None:
        return ""
    return with_interval(prediction.mean, prediction.low, prediction.high, digits=1)

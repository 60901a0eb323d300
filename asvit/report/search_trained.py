"""The figure that only searches with trainings have: accuracy over cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from asvit.report.pictures import Picture
from asvit.report.style import COLOUR, empty, figure, log_scale
from asvit.search.result import Confirmed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from asvit.search.result import SearchResult


@dataclass(frozen=True)
class CostRow:
    """An architecture that no other with as few multiply-adds beats."""

    architecture: str
    params: int
    macs: int
    trainings: int
    accuracy: float  # per cent: predicted, or the mean of its trainings without a predictor
    retrained: float  # mean of fresh trainings; NaN without any, as are the ends
    low: float  # lower end of their 90 % interval
    high: float  # upper end


def cost_picture(result: SearchResult) -> Picture:
    """The best expected accuracy over multiply-adds."""
    rows = []
    for finalist in result.tradeoff:
        again = finalist.confirmed or Confirmed(math.nan, math.nan, math.nan, 0)
        size = finalist.params, finalist.macs, finalist.trainings
        ends = again.mean, again.low, again.high
        rows.append(CostRow(finalist.architecture, *size, finalist.expected, *ends))
    predicted = any(math.isfinite(finalist.predicted) for finalist in result.tradeoff)
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
    fig = figure(height=3.8)
    axes = fig.subplots()
    macs, means = [row.macs / 1e6 for row in rows], [row.accuracy for row in rows]
    axes.plot(macs, means, color=COLOUR["first"], linewidth=1.2)
    again = [row for row in rows if math.isfinite(row.retrained)]
    if again:
        axes.errorbar(
            [row.macs / 1e6 for row in again],
            [row.retrained for row in again],
            yerr=[
                [row.retrained - row.low for row in again],
                [row.high - row.retrained for row in again],
            ],
            color=COLOUR["first"],
            fmt="o",
            mfc="none",
            elinewidth=0.8,
        )
    axes.scatter(macs, means, s=26, color=COLOUR["first"], zorder=3)
    axes.set(xlabel="multiply-adds (million)", ylabel=f"{expected} (%)")
    log_scale(axes, "x", macs)
    return fig

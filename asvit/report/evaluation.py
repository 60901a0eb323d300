"""The figures of a test: how sure the network is, and what it confuses; its worst mistakes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from asvit.core.run_files import PREDICTIONS
from asvit.core.summary import Table
from asvit.report.pictures import Picture
from asvit.report.style import COLOUR, figure
from asvit.report.training import confusion_picture, worst_mistakes
from asvit.training.metrics import Predictions, read_predictions
from asvit.use.result import CalibrationRow, EvaluationResult
from asvit.use.tables import class_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def pictures(result: EvaluationResult) -> list[Picture]:
    """The pictures of a test."""
    rows, confusion = result.calibration, tuple(result.confusion)
    return [
        Picture(
            "calibration",
            "Reliability diagram",
            "Share of right answers by the probability of the predicted class, with 95 % "
            "intervals (Wilson's); below the line the network is too sure. Bars have the share of "
            "the pictures.",
            lambda: draw_calibration(rows),
            (rows, CalibrationRow),
        ),
        *confusion_picture(Predictions(tuple(result.classes), confusion, ()), "Pictures"),
    ]


def draw_calibration(rows: Sequence[CalibrationRow]) -> Figure:
    """Share of right answers over the probability, and how many pictures have it."""
    fig = figure(height=3.6)
    axes = fig.subplots()
    every = sum(row.pictures for row in rows)
    axes.bar(
        [(row.low + row.high) / 2 for row in rows],
        [100 * row.pictures / every for row in rows],
        width=[0.9 * (row.high - row.low) for row in rows],
        color=COLOUR["grid"],
    )
    axes.plot([0, 100], [0, 100], color=COLOUR["muted"], linewidth=1, linestyle=":")
    away = [
        [row.accuracy - row.accuracy_interval.low for row in rows],
        [row.accuracy_interval.high - row.accuracy for row in rows],
    ]
    axes.errorbar(
        [row.confidence for row in rows],
        [row.accuracy for row in rows],
        yerr=away,
        fmt="o-",
        color=COLOUR["first"],
        capsize=3,
    )
    axes.set(xlim=(0, 100), ylim=(0, 100), xlabel="probability (%)", ylabel="right (%)")
    return fig


def details(result: EvaluationResult) -> Iterator[Table]:
    """Every class, and the worst mistakes with their pictures."""
    yield class_table(result.per_class, "By class, per cent")
    predictions = read_predictions(result.folder / PREDICTIONS) if result.kept else None
    if predictions is not None and predictions.mistakes:
        yield worst_mistakes(predictions)

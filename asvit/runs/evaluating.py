"""Tests: how good a classifier is on labelled pictures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from asvit.core.console import clock, quantity
from asvit.core.estimates import Estimate
from asvit.core.run_files import ANSWERS, PREDICTIONS
from asvit.core.settings import setting, settings_class
from asvit.core.signatures import CallOptions, with_options
from asvit.core.summary import SummaryPart
from asvit.runs.folder import RunFiles
from asvit.runs.run_folder import Kind, RunOptions
from asvit.training.settings import TOP
from asvit.use.result import EvaluationResult
from asvit.use.settings import EvaluationSettings
from asvit.use.tables import most_confused, pictures_table, worst_classes
from proxies.text import listed


def summary(result: EvaluationResult) -> Iterator[SummaryPart]:
    """The accuracies, the classes, how sure it is, and what was left out."""
    plain = Estimate(result.accuracy, *result.accuracy_interval, digits=1)
    balanced = Estimate(result.balanced_accuracy, *result.balanced_accuracy_interval, digits=1)
    yield (
        f"accuracy {plain} %, balanced accuracy {balanced} % [95 %] of "
        f"{quantity(result.pictures, 'picture')}"
    )
    top = {"top-5 accuracy (%)": result.top5} if len(result.classes) > TOP else {}
    yield {
        **top,
        "mean F1 (%)": result.macro_f1,
        "loss (nats)": result.loss,
        "calibration error (points)": result.calibration_error,
    }
    yield worst_classes(result.per_class)
    if (confusions := most_confused(result.confusion)).rows:
        yield confusions
    if result.absent:
        yield f"classes without a picture, left out of the means: {listed(result.absent)}"
    if result.trained_on:
        yield (
            f"the network was trained on {result.trained_on:,} of these pictures: on others "
            "it is worse"
        )
    if result.unreadable:
        count = f"{len(result.unreadable):,} picture(s) left out, which could not be read"
        yield pictures_table(result.unreadable, count)
    yield f"{result.architecture}, {result.image_size} px; in {clock(result.wall_seconds)}"


@settings_class
class EvaluationOptions(RunOptions):
    """Options of a test that do not change its result."""

    out: Path | str | None = setting(
        None,
        "Run folder, with the page and what each picture is taken for.",
        metavar="DIRECTORY",
        shown="none",
        complete="paths",
    )


TEST = Kind(
    command="test",
    help="""Test a classifier on labelled pictures.

    FOLDER has a folder for each class, by the names that the network knows. Without --out the
    result is printed and nothing is written.
    """,
    files=RunFiles("test", "test", (ANSWERS, PREDICTIONS), figures=("calibration", "confusion")),
    settings_type=EvaluationSettings,
    options_type=EvaluationOptions,
    result=EvaluationResult,
    execute="asvit.runs.algorithms.evaluating:execute",
    summary=summary,
    pictures="asvit.report.evaluation:pictures",
    details="asvit.report.evaluation:details",
    written="report.html, predictions.csv, result.json",
    settles=False,
    keeps=False,
)


@with_options(EvaluationSettings, EvaluationOptions, CallOptions)
def test(data: str | Path, *, weights: str | Path, **given: Any) -> EvaluationResult:
    """Test a classifier on labelled pictures, prepared as the images it was validated on.

    Classes are matched by their names; the pictures may be of some of them. Pictures that cannot
    be read are named and left out. With ``out``, the run folder holds ``predictions.csv``,
    ``result.json`` and the report; without, nothing is written.

    Args:
        data: A folder with a folder for each class, one of ``train``, ``val`` and ``test`` of
            these, of which the last is taken, or a table of images.
        weights: Run folder of a training or a design, file of weights, copy that was exported for
            timm or ONNX, or ``"timm:NAME"`` for the weights that timm publishes.

    Raises:
        ValueError: If the network does not know a class, or no picture can be read, too.
        ImportError: If ONNX Runtime is needed and not installed.

    Example:
        >>> copy = asvit.export_network(
        ...     "8,2,3|4,1,2|4,1,4|4,1,6|32", to="safetensors", random=True, image_size=32,
        ...     num_classes=2, out="untrained.safetensors", force=True,
        ... )
        >>> tested = asvit.test("pictures", weights="untrained.safetensors", out="tested")
        >>> tested.pictures == len(tested.answers)
        True
    """
    result: EvaluationResult = TEST.make(data=str(data), weights=str(weights), **given).run()
    return result

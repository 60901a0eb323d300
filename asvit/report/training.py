"""The figures of a training: epochs and the confusion matrix; and the worst mistakes.

The last two are of predictions.json, which may be missing.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from asvit.core.answers import Confusion
from asvit.core.results import Result
from asvit.core.run_files import PREDICTIONS
from asvit.core.summary import Cell, Photo, Table
from asvit.report.pictures import Picture
from asvit.report.style import COLOUR, figure, legend, levels, panels, whole
from asvit.training.metrics import EpochRow, Predictions, read_predictions
from asvit.training.result import TrainResult
from asvit.training.supernet_result import LossRow, SupernetResult
from asvit.use.tables import most_confused
from proxies.text import one_line

MOST_CLASSES = 20  # of a confusion matrix; of more, the most confused pairs are listed

_LINES = {"training": "muted", "validation": "first"}
_CURVES = {"loss (nats)": ("train_loss", "loss"), "accuracy (%)": ("train_top1", "top1")}
_BALANCED = {"balanced accuracy (%)": ("", "balanced")}
_PACE = {"learning rate": ("", "learning_rate"), "images a second": ("", "images_per_second")}


def pictures(result: TrainResult) -> list[Picture]:
    """The pictures of a training."""
    rows, predictions = result.history, read_predictions(result.folder / PREDICTIONS)
    curves = {**_CURVES, **(_BALANCED if rows[-1].balanced is not None else {})}
    if result.settings.train_on_validation:  # what it makes of images that it knows says nothing
        curves, predictions = {"loss (nats)": ("train_loss", "")}, None
    figures = [
        Picture(
            "curves",
            "Loss and accuracy",
            "Training images are augmented, and their loss has what the recipe adds to it, such "
            "as label smoothing; accuracy on them is left out where they are mixed. A dotted "
            "line marks a change of tokens.",
            lambda: draw_epochs(rows, curves),
            (rows, EpochRow),
        ),
        Picture(
            "pace",
            "Learning rate and throughput",
            "The learning rate of the last update of each epoch, and the images trained on in a "
            "second, over all processes.",
            lambda: draw_epochs(rows, _PACE),
            (rows, EpochRow),
        ),
    ]
    return [*figures, *confusion_picture(predictions, "Validation images")]


def draw_epochs(rows: Sequence[Any], panel_fields: Mapping[str, Sequence[str]]) -> Figure:
    """Values over epochs: a panel for each title, with fields of ``rows``.

    The fields are of training and validation; empty names are left out.
    """
    fig, epochs = figure(height=2.1 * len(panel_fields)), [row.epoch for row in rows]
    grid = panels(fig, len(panel_fields), columns=1, sharex=True)
    for axes, (title, fields) in zip(grid, panel_fields.items(), strict=True):
        axes.set_title(title)
        several = len(fields) > 1 and all(fields)
        for field, (name, colour) in zip(fields, _LINES.items(), strict=False):
            raw = [getattr(row, field, None) for row in rows]
            values = [math.nan if value is None else value for value in raw]
            if any(map(math.isfinite, values)):
                look: Any = {"color": COLOUR[colour], "marker": "o" if len(rows) == 1 else ""}
                axes.plot(epochs, values, label=name if several else None, **look)
        for before, row in pairwise(rows):
            if getattr(row, "tokens", "") != getattr(before, "tokens", ""):
                axes.axvline(row.epoch - 0.5, color=COLOUR["muted"], linewidth=1, linestyle=":")
    grid[-1].set_xlabel("epoch")
    whole(grid[-1].xaxis)
    legend(fig)
    return fig


def confusion_picture(predictions: Predictions | None, images: str) -> list[Picture]:
    """The confusion matrix of these images; none of more than ``MOST_CLASSES`` classes."""
    if predictions is None or len(predictions.classes) > MOST_CLASSES:
        return []
    caption = (
        f"{images} of each class (row) by the class that the network takes them for (column); the "
        "stronger, the larger its share of the row."
    )
    rows = predictions.confusion, Confusion
    return [
        Picture(
            "confusion", "Confusion matrix", caption, lambda: draw_confusion(predictions), rows
        )
    ]


def draw_confusion(predictions: Predictions) -> Figure:
    """The confusion matrix: true classes in rows, predicted classes in columns."""
    place = {name: at for at, name in enumerate(predictions.classes)}
    count = len(predictions.classes)
    shades = [levels(5)[place] for place in (0, 1, 4)]  # text has enough contrast on these
    fig = figure(max(5.2, 1.6 + 0.44 * count), max(2.4, 1.4 + 0.3 * count))
    axes = fig.subplots()
    for pair in predictions.confusion:
        x, y = place[pair.predicted], place[pair.label]
        level = min(2, int(3 * pair.share / 100))
        axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, color=shades[level], linewidth=0))
        ink = COLOUR["card" if level > 1 else "ink"]
        axes.text(x, y, f"{pair.images}", ha="center", va="center", color=ink, fontsize=9)
    names = [one_line(name, most=20) for name in predictions.classes]
    axes.set_xticks(range(count), names, rotation=90)
    axes.set_yticks(range(count), names)
    axes.set(xlim=(-0.5, count - 0.5), ylim=(count - 0.5, -0.5), xlabel="taken for")
    axes.grid(visible=False)
    return fig


def details(result: Result) -> Iterator[Table]:
    """The most confused pairs of classes, and the images with the highest loss."""
    predictions = read_predictions(result.folder / PREDICTIONS)
    known = getattr(result.settings, "train_on_validation", False)
    if predictions is not None and predictions.mistakes and not known:
        yield most_confused(predictions.confusion)
        yield worst_mistakes(predictions)


def worst_mistakes(predictions: Predictions) -> Table:
    """The images with the highest loss."""
    images: list[list[Cell]] = [
        [Photo(row.picture), row.name, row.label, row.predicted, row.confidence, row.loss]
        for row in predictions.mistakes
    ]
    columns = ["image", "name", "class", "taken for", "probability (%)", "loss (nats)"]
    title = "Worst mistakes (often the label is wrong, or the image shows both)"
    return Table(columns, images, title_with(title, predictions))


def title_with(title: str, predictions: Predictions) -> str:
    """The title of a table of pictures, with what these show of images that are none."""
    return f"{title}; {predictions.shown}" if predictions.shown else title


def supernet_pictures(result: SupernetResult) -> list[Picture]:
    """The mean loss over epochs."""
    rows = [LossRow(epoch, loss) for epoch, loss in enumerate(result.losses, 1)]
    about = "Mean over the steps of an epoch, each of which trains one random path."
    fields = {"loss (nats)": ("loss",)}
    return [
        Picture("loss", "Training loss", about, lambda: draw_epochs(rows, fields), (rows, LossRow))
    ]

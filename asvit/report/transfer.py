"""The figures of detectors and segmenters: their epochs, and what they find in images."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.image import imread

from asvit.report.pictures import Picture
from asvit.report.style import empty, figure
from asvit.report.training import draw_epochs
from asvit.transfer.settings import DRAWING, TransferResult

_WIDTH = 11.0  # inches


def pictures(result: TransferResult) -> Sequence[Picture]:
    """The loss and the metrics over the epochs, and predictions."""
    rows, kind = result.history, result.row_type
    panels = {f"{name.replace('_', ' ')} (%)": ("", name) for name in result.values}
    photograph = result.folder / DRAWING
    return [
        Picture(
            "curves",
            "Loss and metrics",
            "The mean loss of the steps of each epoch, and metrics on the validation images.",
            lambda: draw_epochs(rows, {"loss": ("loss",), **panels}),
            (rows, kind),
        ),
        Picture(
            "predictions",
            "Predictions",
            "The first validation images: annotations, and right of each what is found.",
            lambda: draw_photograph(photograph),
            (rows[-1:], kind),
            wide=True,
        ),
    ]


def draw_photograph(path: Path) -> Figure:
    """A picture of a run folder as it is, or nothing where it is missing."""
    if not path.is_file():
        return empty(f"no {path.name}")
    pixels = imread(path)
    fig = figure(_WIDTH, _WIDTH * pixels.shape[0] / pixels.shape[1])
    axes = fig.subplots()
    axes.imshow(pixels, interpolation="none")  # else an SVG would have it at 72 dpi
    axes.set_axis_off()
    return fig

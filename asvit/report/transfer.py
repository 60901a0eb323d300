"""The figures of detectors and segmenters: their epochs."""

from collections.abc import Sequence

from asvit.report.pictures import Picture
from asvit.report.training import draw_epochs
from asvit.transfer.settings import TransferResult


def pictures(result: TransferResult) -> Sequence[Picture]:
    """The loss and the metrics over the epochs."""
    rows, kind = result.history, result.row_type
    panels = {f"{name.replace('_', ' ')} (%)": ("", name) for name in result.values}
    return [
        Picture(
            "curves",
            "Loss and metrics",
            "The mean loss of the steps of each epoch, and metrics on the validation images.",
            lambda: draw_epochs(rows, {"loss": ("loss",), **panels}),
            (rows, kind),
        )
    ]

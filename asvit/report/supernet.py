"""The report of the training of a supernet: its loss, and the accuracies of random paths."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from asvit.report import html
from asvit.report.pictures import Picture
from asvit.report.training import draw_epochs
from asvit.training.supernets.result import SupernetResult


@dataclass(frozen=True)
class LossRow:
    """Mean training loss of an epoch, from 1, in nats."""

    epoch: int
    loss: float


def write_supernet_report(folder: Path | str) -> list[Path]:
    """Write the report of a finished supernet; see :func:`asvit.report.write_report`."""
    result = html.read_result(Path(folder), SupernetResult)
    found, losses = result.accuracy, result.losses
    told = {
        "space": result.settings.space,
        "parameters": html.number(result.params),
        "loss, first epoch to last": f"{losses[0]:.3f} to {losses[-1]:.3f} nats",
        f"accuracy of {found.paths} random paths": f"{found.lowest:.1f} to {found.highest:.1f} %, "
        f"median {found.median:.1f}",
        "chance": f"{100 / result.num_classes:.1f} %",
    }
    rows = [LossRow(epoch, loss) for epoch, loss in enumerate(losses, 1)]
    loss = Picture(
        "loss",
        "Training loss",
        "Mean over the steps of an epoch, each of which trains one random path.",
        lambda: draw_epochs(rows, {"loss (nats)": ("loss",)}),
        (rows, LossRow),
    )
    return html.write_result_page("asvit supernet train", result, told, [loss])

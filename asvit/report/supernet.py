"""The report of the training of a supernet: its loss, and the accuracies of random paths."""

from __future__ import annotations

from dataclasses import dataclass

from asvit.report import html
from asvit.report.pictures import Picture
from asvit.report.training import draw_epochs
from asvit.training.supernets.result import SupernetResult


@dataclass(frozen=True)
class LossRow:
    """Mean training loss of an epoch, from 1, in nats."""

    epoch: int
    loss: float


def _facts(result: SupernetResult) -> dict[str, str]:
    found, losses = result.accuracy, result.losses
    return {
        "space": result.settings.space,
        "parameters": html.number(result.params),
        "loss, first epoch to last": f"{losses[0]:.3f} to {losses[-1]:.3f} nats",
        f"accuracy of {found.paths} random paths": f"{found.lowest:.1f} to {found.highest:.1f} %, "
        f"median {found.median:.1f}",
        "chance": f"{100 / result.num_classes:.1f} %",
    }


def _pictures(result: SupernetResult) -> list[Picture]:
    rows = [LossRow(epoch, loss) for epoch, loss in enumerate(result.losses, 1)]
    about = "Mean over the steps of an epoch, each of which trains one random path."
    shown = {"loss (nats)": ("loss",)}
    return [
        Picture("loss", "Training loss", about, lambda: draw_epochs(rows, shown), (rows, LossRow))
    ]


write_supernet_report = html.result_report(
    "asvit supernet train", SupernetResult, _facts, _pictures
)

"""``asvit predict``: the classes of pictures."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from asvit.cli.manual import Documented
from asvit.cli.options import emit_json, json_option, paths
from asvit.core.console import console, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asvit.runs.predicting import PicturePrediction

SCHEMA_VERSION = 1


@click.command(cls=Documented)
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True, shell_complete=paths)
@click.option(
    "--weights",
    required=True,
    metavar="PATH",
    shell_complete=paths,
    help="Run folder of a training, file of weights, or copy that was exported for timm or ONNX.",
)
@click.option(
    "--top",
    type=click.IntRange(min=1),
    default=3,
    metavar="N",
    show_default=True,
    help="Classes to name for each picture.",
)
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=32,
    metavar="N",
    show_default=True,
    help="Pictures that pass the network together.",
)
@click.option(
    "--device",
    default="auto",
    metavar="DEVICE",
    show_default=True,
    help="auto, cpu, cuda, ... An ONNX graph runs on the CPU.",
)
@json_option
def command(
    images: tuple[str, ...], *, weights: str, top: int, batch_size: int, device: str, as_json: bool
) -> None:
    """Tell what classes pictures are of, with probabilities.

    IMAGE is a picture, or a folder of them. They are prepared as the images on which the network
    was tested. If one cannot be read, the others are told all the same, and the exit code is 3.
    """
    from asvit.runs.predicting import predict

    found = predict(weights, images, top=top, batch_size=batch_size, device=device)
    if as_json:
        told = [asdict(one) for one in found]
        emit_json({"schema_version": SCHEMA_VERSION, "weights": weights, "images": told})
    else:
        _show(found)
    unread = [one.reason for one in found if one.reason]
    if unread:
        more = f" (and {len(unread) - 1} more)" if len(unread) > 1 else ""
        raise ValueError(f"{unread[0]}{more}")


def _show(found: Sequence[PicturePrediction]) -> None:
    """Write the guesses of each picture that could be read."""
    rows = [
        ["" if place else one.image, guess.label, f"{guess.probability:.1%}"]
        for one in found
        for place, guess in enumerate(one.guesses)
    ]
    if rows:
        console().print(
            table(["picture", "class", "probability"], rows, left=("picture", "class"))
        )

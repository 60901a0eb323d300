"""``asvit predict``: the classes of pictures."""

from __future__ import annotations

import logging
from dataclasses import asdict
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from asvit.cli.manual import Documented
from asvit.cli.options import emit_json, images_argument, json_option, parameters
from asvit.core.console import console, table
from asvit.core.settings import Settings, setting, setting_of, settings_class
from asvit.use.settings import EvaluationSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asvit.use.predicting import PicturePrediction

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 1
_PART = 1000  # pictures of a table on the screen, which is there as soon as these are classified


@settings_class
class Options(Settings):
    """How pictures are classified."""

    weights: str = setting_of(EvaluationSettings, "weights")
    top: int = setting(3, "Classes to name for each picture.", at_least=1)
    batch_size: int = setting_of(EvaluationSettings, "batch_size")
    device: str = setting_of(EvaluationSettings, "device")


@click.command(cls=Documented, params=[images_argument, *parameters(Options)])
@json_option
def command(images: tuple[str, ...], *, weights: str, as_json: bool, **options: Any) -> None:
    """Classify pictures, with probabilities.

    IMAGE is a picture, or a folder of them. They are prepared as the images on which the network
    was tested. If one cannot be read, the others are still classified, and the exit code is 3.
    Of many pictures, every thousand have a table of their own.
    """
    from asvit.use.predicting import predictions

    results = predictions(weights, images, **options)
    unread, count = list[str](), 0
    while part := list(results if as_json else islice(results, _PART)):
        if as_json:
            records = [asdict(prediction) for prediction in part]
            emit_json({"schema_version": SCHEMA_VERSION, "weights": weights, "images": records})
        else:
            _show(part)
        unread += [prediction.reason for prediction in part if prediction.reason]
        count += len(part)
    for reason in unread[:-1]:
        logger.warning(reason)
    if unread:
        more = f" ({len(unread)} of {count} pictures)" if len(unread) > 1 else ""
        raise ValueError(f"{unread[-1]}{more}")


def _show(predictions: Sequence[PicturePrediction]) -> None:
    """Print the predictions of each readable picture."""
    rows = [
        ["" if place else prediction.image, guess.label, f"{guess.probability:.1%}"]
        for prediction in predictions
        for place, guess in enumerate(prediction.guesses)
    ]
    if rows:
        console().print(
            table(["picture", "class", "probability"], rows, left=("picture", "class"))
        )

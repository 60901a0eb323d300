"""Training a supernet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from asvit.core.console import clock
from asvit.core.run_files import (
    METRICS,
    SUPERNET_WEIGHTS,
)
from asvit.core.settings import setting_of, settings_class
from asvit.core.shared_settings import MeasuringSettings
from asvit.core.signatures import CallOptions, with_options
from asvit.core.summary import SummaryPart
from asvit.runs.folder import RunFiles
from asvit.runs.run_folder import Kind, RunOptions
from asvit.training.short_settings import SupernetSettings
from asvit.training.supernet_result import SupernetResult


def summary(result: SupernetResult) -> Iterator[SummaryPart]:
    """The loss, and random paths."""
    random, losses = result.accuracy, result.losses
    yield {
        "space": result.settings.space,
        "parameters": result.params,
        "loss, first epoch to last": f"{losses[0]:.3f} to {losses[-1]:.3f} nats",
        f"accuracy of {random.paths} random paths on the validation images": (
            f"{random.lowest:.1f} to {random.highest:.1f} %, median {random.median:.1f}"
        ),
        "chance": f"{100 / result.num_classes:.1f} %",
    }
    yield f"trained in {clock(result.wall_seconds)}"


def folder_name(s: SupernetSettings, _options: object) -> str:
    """Named after the space, the image size and the seed."""
    return f"supernet-{s.space}-{s.image_size}px-seed{s.seed}"


@settings_class
class DeviceOptions(RunOptions):
    """Options of a run on one device that do not change its result."""

    device: str = setting_of(MeasuringSettings, "device", repeats=False)


SUPERNET = Kind(
    command="supernet train",
    help="""Train the supernet of a space: every batch trains one path drawn at random.

    The same command resumes a stopped run, or shows the result of a finished one.
    """,
    files=RunFiles("supernet", "supernet", (METRICS, SUPERNET_WEIGHTS), figures=("loss",)),
    settings_type=SupernetSettings,
    options_type=DeviceOptions,
    result=SupernetResult,
    execute="asvit.runs.algorithms.supernet:execute",
    name=folder_name,
    summary=summary,
    pictures="asvit.report.training:supernet_pictures",
    written="report.html, supernet.safetensors, metrics.csv, result.json",
    complete=(SUPERNET_WEIGHTS,),
)


@with_options(SupernetSettings, DeviceOptions, CallOptions)
def train_supernet(**given: Any) -> SupernetResult:
    """Train the supernet of a space, one path at a time; the same call continues a run.

    The run folder holds ``supernet.safetensors`` (weights, and the optimiser's state while it is
    unfinished), ``metrics.csv`` (losses of epochs) and ``result.json``. After a stop at most an
    epoch is trained again, and of a long one at most a minute; the weights are the same on a CPU.

    Raises:
        ValueError: If the loss is not finite, too.

    Example:
        >>> result = asvit.train_supernet(
        ...     train_images=60, validation_images=40, test_images=40, image_size=32, width=24,
        ...     epochs=1, batch_size=30, out="supernet",
        ... )
        >>> len(result.losses)
        1
    """
    result: SupernetResult = SUPERNET.make(**given).run()
    return result

"""Trainings: a network trained on labelled images, by one process or several."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from asvit.core.console import clock, number, quantity
from asvit.core.run_files import ANSWERS, BEST, CHECKPOINT, METRICS, MODEL, PREDICTIONS
from asvit.core.settings import setting, settings_class
from asvit.core.signatures import CallOptions, with_options
from asvit.core.summary import SummaryPart, Table
from asvit.runs.folder import RunFiles
from asvit.runs.run_folder import Kind
from asvit.runs.shared import SharedOptions, folder_name
from asvit.runs.tracking import known_trackers
from asvit.training.settings import FEW, TOP, TrainSettings
from asvit.training.short_settings import IN_WORDS, UNEVEN

if TYPE_CHECKING:
    from asvit.training.result import TrainResult

_GENERATED = ("fractal", "digits")


def summary(result: TrainResult) -> Iterator[SummaryPart]:
    """The best and the last epoch, and the stages of tokens."""
    columns = {"train_loss": "train loss", "loss": "loss", "top1": "top-1", "top5": "top-5"}
    columns |= {"images_per_second": "images/s", "balanced": "balanced"}
    network, all_trained = result.network, result.settings.train_on_validation
    left_out = {"top5"} if network.num_classes <= TOP else set[str]()
    left_out |= {"balanced"} if result.last.balanced is None else set()
    if all_trained:  # no accuracy of those tells anything
        left_out = columns.keys() - {"train_loss", "images_per_second"}
    shown = {value: name for value, name in columns.items() if value not in left_out}
    best = [] if result.best is None else [("best", result.best)]
    rows = [
        [f"{name} ({row.epoch})", *(getattr(row, value) for value in shown)]
        for name, row in (*best, ("last", result.last))
    ]
    title = "On the validation images, per cent"
    if all_trained:
        title = "Trained on all images; test it on others"
    yield Table(["epoch", *shown.values()], rows, title)
    yield (
        f"{network.architecture}: {result.params:,} params, {result.macs:,} multiply-adds at "
        f"{network.image_size} px, {network.num_classes} classes"
    )
    yield f"{quantity(len(result.history), 'epoch')} in {clock(result.wall_seconds)}"
    if result.saved is not None:
        stages = [
            [
                f"({stage['stride']},{stage['dilation']})",
                *(stage["epochs"], stage["macs"], 100 * stage["fraction"]),
            ]
            for stage in result.stages
        ]
        yield Table(["tokens", "epochs", "multiply-adds", "of full (%)"], stages, "Tokens")
        yield f"coarser tokens saved {result.saved:.1%} of the multiply-adds of the training"


def few_pictures_note(
    pictures: int, how: str = "asvit train ARCH --weights FILE --new-head --recipe finetune"
) -> list[str]:
    """A line where there are so few pictures that pretrained weights are the better start."""
    if pictures >= FEW:
        return []
    return [
        f"{pictures:,} pictures are few to train on from scratch; fine-tuning pretrained weights "
        f"does better ({how})"
    ]


def plan_lines(plan: Mapping[str, Any]) -> list[str]:
    """What is going to be trained, on what and how; and what coarser tokens cost and save."""
    s: TrainSettings = plan["settings"]
    network, images, saved = plan["network"], plan["images"], plan["saved"]
    parts = [word for word in (s.attention and f"{s.attention} attention", s.ffn) if word]
    added = f" with {' and '.join(parts)}" if parts else ""
    where, processes = plan["device"], plan["processes"]
    source = plan["source"].partition("; ")[0]  # how many of them is told below
    where = where if processes == 1 else f"{processes} processes, {where}"
    most = "" if s.hours is None else f"{clock(3600 * s.hours)} and at most "
    lines = [
        f"training {network.architecture}{added}: {plan['params']:,} params, "
        f"{plan['macs']:,} multiply-adds at {s.image_size} px, {network.num_classes} classes",
        f"images: {source}: {images['train']:,} for training, {images['validation']:,} for "
        f"validation{'' if plan['picture'] else ', ' + plan['pixels']}",
        f"recipe {s.recipe}: {most}{quantity(s.epochs, 'epoch')} of "
        f"{quantity(plan['steps_per_epoch'], 'update')} with {quantity(s.batch_size, 'image')}, "
        f"{s.optimizer}, learning rate {s.learning_rate:g}, weight decay {s.weight_decay:g}, "
        f"warm-up {quantity(s.warmup_epochs, 'epoch')}; {where}, {plan['precision']}, "
        f"seed {s.seed}",
    ]
    if plan["transparent"]:
        lines.append(plan["transparent"])
    lines += [
        f"tokens ({stage['stride']},{stage['dilation']}): {quantity(stage['epochs'], 'epoch')}, "
        f"{stage['macs']:,} multiply-adds an image ({stage['fraction']:.1%} of full)"
        for stage in plan["stages"]
    ]
    if saved is not None:
        lines.append(f"coarser tokens save {saved:.1%} of the multiply-adds")
    if s.balance != "none":
        lines.append(
            f"balance {s.balance}: {IN_WORDS}; the best epoch is that of the highest "
            "balanced accuracy"
        )
    elif plan["imbalance"] > UNEVEN:
        lines.append(
            f"the largest class has {plan['imbalance']:.1f} times the images of the smallest; "
            "--balance sampling makes them count alike"
        )
    scratch = s.weights is None and s.teacher is None and plan["picture"]
    if scratch and s.data.partition(":")[0] not in _GENERATED:
        lines += few_pictures_note(images["train"])
    if (times := plan.get("time")) is not None:
        speed = number(times["images_per_second"])
        lines.append(
            f"time: about {clock(times['seconds'])}, {clock(times['epoch'])} an epoch at the "
            f"network's own tokens; from a few small batches, {speed} images/s with images "
            "prepared in this process"
        )
    return lines


@settings_class
class TrainOptions(SharedOptions):
    """Options of a training that do not change its result."""

    track: str = setting(
        "",
        "Send the rows of epochs to tensorboard, wandb or mlflow; separate several by commas.",
        metavar="NAME",
        shown="nobody",
        convert=known_trackers,
        complete="asvit.runs.tracking:TRACKERS",
        listed=False,
        repeats=False,
    )
    quiet: bool = False  # whether what is odd about the images has been told already


TRAIN = Kind(
    command="train",
    help="""Train ARCH, an architecture or the folder of a run that has one, on labelled images.

    The same command resumes a stopped run, or shows the result of a finished one. Several
    processes share the batches:
    accelerate launch -m asvit train ARCH ...
    """,
    files=RunFiles(
        "training",
        "training",
        (METRICS, MODEL, BEST, PREDICTIONS, ANSWERS, CHECKPOINT),
        figures=("curves", "pace", "confusion"),
    ),
    settings_type=TrainSettings,
    options_type=TrainOptions,
    result="asvit.training.result:TrainResult",
    prepare="asvit.runs.algorithms.shared:prepare",
    execute="asvit.runs.algorithms.training:execute",
    dry_run="asvit.runs.dry_runs:plan_of_training",
    name=lambda s, _: folder_name("train", s.architecture, s.image_size, s.seed),
    summary=summary,
    pictures="asvit.report.training:pictures",
    details="asvit.report.training:details",
    written="report.html, model.safetensors, best.safetensors, metrics.csv, result.json",
    complete=(MODEL,),
    ends_in="architecture",
    shared=True,
)


@with_options(TrainSettings, TrainOptions, CallOptions)
def run_training(architecture: str, **given: Any) -> TrainResult:
    """Train a network on labelled images; the same call continues a run that was stopped.

    The run folder holds ``checkpoint.safetensors`` (the state after an epoch or a part of one),
    ``best.safetensors`` and ``model.safetensors`` (the network of the best and of the last epoch,
    as :class:`asvit.networks.WeightsFile`), ``metrics.csv``
    and ``result.json``. After a kill at most ``checkpoint_minutes`` are
    trained again; the weights are the same on a CPU.

    Started in several processes by ``accelerate launch`` or ``torchrun`` they share every batch;
    the run folder must be on a disk that all of them see. The first one writes and tells.

    Args:
        architecture: Text of any space or family, ``"timm:NAME"``, or the folder of a search, a
            scaling or another run that ended in an architecture.

    Raises:
        ValueError: If weights do not suit, or the loss is not finite, too.
        ImportError: If a library is missing.

    Example:
        >>> result = asvit.run_training(
        ...     "8,2,3|4,1,2|4,1,4|4,1,6|32", image_size=32, classes=2, train_images=20,
        ...     validation_images=10, epochs=1, batch_size=10, out="training",
        ... )
        >>> len(result.history)
        1
    """
    result: TrainResult = TRAIN.make(architecture=architecture, **given).run()
    return result

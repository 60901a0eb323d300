"""``asvit train``: train a network on labelled images."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asvit.cli.app import again
from asvit.cli.manual import Documented
from asvit.cli.options import (
    Setting,
    completes,
    fresh_option,
    image_size_option,
    json_option,
    known,
    quiet_option,
    registered,
    run_folders,
    seed_option,
)
from asvit.cli.output import emit_json
from asvit.cli.train_options import setting_options
from asvit.cli.train_progress import train_progress
from asvit.cli.train_tables import show_plan, show_result
from asvit.console import console

if TYPE_CHECKING:
    from asvit.runs.training.session import TrainEvent


@click.command(cls=Documented, no_args_is_help=True)
@click.argument("architecture", metavar="ARCH", shell_complete=completes(run_folders))
@image_size_option
@click.option(
    "--recipe",
    cls=Setting,
    metavar="NAME",
    shell_complete=registered("asvit.training.recipes", "RECIPES"),
    show_default="swin",
    help="deit, swin, pvt, nextvit, shiftvit, small or finetune: values of the options below.",
)
@setting_options
@click.option("--new-head", is_flag=True, default=None, help="Start with a fresh classifier.")
@click.option("--compile", is_flag=True, default=None, help="Let PyTorch compile the network.")
@seed_option
@click.option(
    "--device", metavar="DEVICE", default="auto", show_default=True, help="auto, cpu, cuda, ..."
)
@click.option(
    "--workers",
    cls=Setting,
    metavar="N",
    type=click.IntRange(min=0),
    show_default="the cores there are, at most 8; 0 for few images",
    help="Processes that prepare images.",
)
@click.option("--tensorboard", is_flag=True, help="Also write the epochs for TensorBoard.")
@click.option(
    "--preset",
    metavar="NAME",
    shell_complete=registered("asvit.training.recipes", "PRESETS"),
    default="default",
    show_default=True,
    help="default, quick, cifar100-384 or dogs-448: settings to start from.",
)
@click.option(
    "--out",
    cls=Setting,
    type=click.Path(path_type=Path, file_okay=False),
    show_default="a folder in runs, named after the settings",
    help="Run folder.",
)
@fresh_option
@click.option("--resume", is_flag=True, help="Only continue; an error where there is no run.")
@click.option("--dry-run", is_flag=True, help="Show what would be done, and end.")
@quiet_option
@json_option
@click.pass_context
def command(
    context: click.Context,
    /,
    *,
    architecture: str,
    device: str,
    workers: int | None,
    tensorboard: bool,
    preset: str,
    out: Path | None,
    fresh: bool,
    resume: bool,
    dry_run: bool,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Train ARCH, an architecture or the folder of a run that ended in one, on labelled images.

    Given again, the same command continues a run that was stopped, or shows the result of a
    finished one. Several processes share the batches:
    accelerate launch -m asvit train ARCH ...
    """
    given = {name: value for name, value in options.items() if value is not None}
    if fresh and resume:
        raise click.UsageError("--fresh and --resume contradict each other; give one of them")
    _check(architecture, preset, given)
    from asvit.runs.training.run import plan_training, run_training

    first = os.environ.get("RANK", "0") == "0"  # of several processes only one talks
    quiet = quiet or not first
    asked = {"out": out, "device": device, "preset": preset, **given}
    last: TrainEvent | None = None

    def follow(event: TrainEvent) -> None:
        nonlocal last
        last = event
        watch.event(event)

    if dry_run:
        plan = plan_training(architecture, **asked)
        if as_json and first:
            emit_json(plan.to_json())
        if not (as_json and quiet) and first:
            show_plan(plan, console(err=as_json))
        return
    try:
        with train_progress(quiet=quiet) as watch:
            result = run_training(
                architecture,
                workers=workers,
                tensorboard=tensorboard,
                planned=watch.planned,
                progress=follow,
                image_progress=watch.images,
                fresh=fresh,
                resume=resume,
                **asked,
            )
    except KeyboardInterrupt:
        done = None if last is None else f"in epoch {last.epoch} of {last.epochs}"
        where = done or "before its first step"
        click.echo(f"stopped {where}; to go on: {again(context)}", err=True)
        raise
    if not first:
        return
    if last is None and not quiet:
        click.echo("this training had finished before; --fresh starts it over", err=True)
    if as_json:
        emit_json({"folder": result.folder, **result.to_json()})
    if not (as_json and quiet):
        show_result(result, console(err=as_json))


def _check(architecture: str, preset: str, given: dict[str, Any]) -> None:
    """Check what the options ask for, before anything heavy is loaded for long.

    Raises:
        click.UsageError: If a name is unknown or a value is not allowed.
        OSError: If a run folder has no result.
    """
    from asvit.training.recipes import PRESETS, RECIPES
    from asvit.training.settings import make_settings

    known("preset", preset, list(PRESETS))
    if "recipe" in given:
        known("recipe", given["recipe"], list(RECIPES))
    from asvit.runs.training.source import find_architecture

    try:
        found = find_architecture(architecture)
        make_settings(preset, architecture=found.architecture, **given)
    except ValueError as error:
        raise click.UsageError(str(error)) from error

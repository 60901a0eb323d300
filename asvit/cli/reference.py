"""``asvit reference``: make a reference table of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asvit.cli.app import again, debug_option
from asvit.cli.manual import Documented
from asvit.cli.options import (
    POSITIVE,
    Setting,
    fresh_option,
    json_option,
    known,
    labelled_data_option,
    number_option,
    quiet_option,
    recipe_options,
    registered,
    seed_option,
)
from asvit.cli.output import emit_json
from asvit.cli.training_progress import training_progress
from asvit.console import clock, console, number, table

if TYPE_CHECKING:
    from rich.console import Console

    from asvit.reference.recipe import BuildSettings
    from asvit.runs.reference import TrainingEvent
    from asvit.runs.reference_result import BuildResult

_SHOWN = 10  # rows of a table that are shown; all are in the file


@click.group(no_args_is_help=True)
def command() -> None:
    """Make reference tables: architectures with the accuracies they were trained to."""


@command.command(cls=Documented, short_help="Train random architectures of a space.")
@click.option(
    "--space",
    metavar="NAME",
    cls=Setting,
    shell_complete=registered("asvit.spaces", "SPACES"),
    show_default="asvit",
    help="Search space (see asvit list spaces).",
)
@number_option("--n", "60", "Architectures, drawn at random.", click.IntRange(min=2))
@number_option("--seeds", "2", "Trainings of each, with different weights and batches.")
@labelled_data_option
@number_option("--classes", "100", "Classes of the fractals.", click.IntRange(min=2))
@number_option("--train-images", "20000", "Images to train on, over all classes.")
@number_option("--test-images", "5000", "Other images to test on.")
@number_option("--image-size", "64", "Side of the square images, in pixels.")
@number_option("--width", "32", "Channels of the first stage.")
@number_option("--steps", "3000", "Batches of each training.")
@number_option("--batch-size", "64", "Images in a batch.")
@recipe_options
@seed_option
@click.option(
    "--device",
    metavar="DEVICE",
    default="auto",
    show_default=True,
    help="auto, cpu, cuda, ... or several of a kind: cuda:0,cuda:1.",
)
@click.option(
    "--jobs",
    metavar="N",
    type=POSITIVE,
    default=1,
    show_default=True,
    help="Processes that train at the same time; the table is the same.",
)
@click.option(
    "--preset",
    metavar="NAME",
    shell_complete=registered("asvit.reference.recipe", "PRESETS"),
    default="default",
    show_default=True,
    help="default, quick or asvit-fractal: settings to start from; options given beside it win.",
)
@click.option(
    "--out",
    cls=Setting,
    type=click.Path(path_type=Path, file_okay=False),
    show_default="a folder in runs, named after the settings",
    help="Run folder; the table is its table.csv.",
)
@fresh_option
@quiet_option
@json_option
@click.pass_context
def build(
    context: click.Context,
    /,
    *,
    device: str,
    jobs: int,
    preset: str,
    out: Path | None,
    fresh: bool,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Train random architectures of a space from scratch, all by one recipe.

    Given again, the same command continues a run that was stopped, or shows the result of a
    finished one; more architectures or seeds extend it. asvit correlate --reference takes the
    table.
    """
    given = {name: value for name, value in options.items() if value is not None}
    settings = _checked(preset, given)
    from asvit.runs import build_reference

    last: TrainingEvent | None = None

    def follow(event: TrainingEvent) -> None:
        nonlocal last
        last = event
        watch.training(event)

    try:
        with training_progress(_title(settings), quiet=quiet) as watch:
            result = build_reference(
                out=out,
                device=device,
                jobs=jobs,
                fresh=fresh,
                preset=preset,
                progress=follow,
                image_progress=watch.images,
                **given,
            )
    except KeyboardInterrupt:
        done = None if last is None else f"after training {last.done} of {last.total}"
        where = done or "before its first training"
        click.echo(f"stopped {where}; to go on: {again(context)}", err=True)
        raise
    if last is None and not quiet:
        click.echo("this table had been finished before; --fresh starts it over", err=True)
    if as_json:
        emit_json({"folder": result.folder, **result.to_json()})
    if not (as_json and quiet):
        show_result(result, console(err=as_json))


build.params.append(debug_option())


def _checked(preset: str, given: dict[str, Any]) -> BuildSettings:
    """The settings that the options ask for.

    Raises:
        click.UsageError: If a name is unknown or a value is not allowed.
    """
    from asvit.reference.recipe import PRESETS, make_settings
    from asvit.spaces import SPACES

    known("preset", preset, list(PRESETS))
    if "space" in given:
        known("space", given["space"], list(SPACES))
    try:
        return make_settings(preset, **given)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _title(settings: BuildSettings) -> str:
    """What is about to be trained, and on what."""
    return (
        f"training {settings.n} architectures of {settings.space}, {settings.seeds} seed(s) each: "
        f"{settings.steps} steps of {settings.batch_size} images, {settings.images}, "
        f"{settings.image_size} px, C={settings.width}, seed {settings.seed}"
    )


def show_result(result: BuildResult, screen: Console) -> None:
    """Write the best of the table on ``screen``, its spread and noise, and what to type next."""
    columns = ["architecture", "params", "multiply-adds", "accuracy", "std"]
    best = sorted(result.rows, key=lambda row: (row.mean != row.mean, -row.mean))[:_SHOWN]
    cells = [[row.architecture, row.params, row.macs, row.mean, row.std] for row in best]
    title = f"The best {len(best)} of {len(result.rows)} architectures, per cent"
    screen.print()
    screen.print(table(columns, cells, title=title, left=("architecture",)))
    apart = result.spread
    screen.print(
        f"{apart.lowest:.1f} to {apart.highest:.1f} %, median {apart.median:.1f}; standard "
        f"deviation {apart.between:.2f} points between architectures, {apart.within:.2f} between "
        "seeds"
    )
    screen.print(
        f"noise ceiling, tau between two seeds: {number(result.noise_ceiling, 3)}; with the means "
        f"of {result.settings.seeds} a perfect measure would reach about "
        f"{number(result.reachable, 3)}"
    )
    told = f"{result.settings.n * result.settings.seeds} trainings"
    screen.print(f"{told} in {clock(result.wall_seconds)}, {len(result.failures)} failed")
    for training, reason in result.failures.items():
        screen.print(f"failed: {training}: {reason}")
    screen.print(f"folder: {result.folder} (table.csv, result.json)")
    screen.print(f"next:   {result.next_command}")

"""``asvit supernet``: train all paths of a space at once, then find the best of them."""

from __future__ import annotations

import re
import shlex
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asvit.cli.app import again, debug_option
from asvit.cli.manual import Documented
from asvit.cli.moments import Moment
from asvit.cli.options import (
    Setting,
    fresh_option,
    json_option,
    known,
    labelled_data_option,
    number_option,
    quiet_option,
    recipe_options,
    seed_option,
)
from asvit.cli.output import emit_json
from asvit.cli.supernet_progress import percent, supernet_progress
from asvit.cli.supernet_tables import show_evolution, show_supernet
from asvit.console import console

if TYPE_CHECKING:
    from asvit.runs.supernets.evolution_session import EvolutionEvent
    from asvit.search.supernet_settings import EvolutionSettings
    from asvit.training.supernets.settings import SupernetSettings
    from asvit.training.supernets.single_path import SupernetEvent

_SPACES = "psvit2d or psvit1d"
_COUNT = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,15})?(?:[eE]\+?[0-9]{1,2})?)([KMGkmg]?)")
_FACTORS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}


@click.group(no_args_is_help=True)
def command() -> None:
    """Search with shared weights: train a supernet, then choose among its paths."""


def count(_context: click.Context, _parameter: click.Parameter, value: str | None) -> int | None:
    """A number of multiply-adds written as ``20M``, ``1.3G`` or ``2e7``; None when absent."""
    if value is None:
        return None
    found = _COUNT.fullmatch(value.strip())
    if found is None:
        raise click.BadParameter(f"{value!r} is no number of multiply-adds such as 20M or 1.3G")
    return round(Decimal(found[1]) * _FACTORS[found[2].upper()])


_FROM_ZERO = click.IntRange(min=0)

_device = click.option(
    "--device", metavar="DEVICE", default="auto", show_default=True, help="auto, cpu, cuda, ..."
)
_preset = click.option(
    "--preset",
    metavar="NAME",
    default="default",
    show_default=True,
    help="Settings to start from; options given beside it win (see asvit list presets).",
)
_out = click.option(
    "--out",
    cls=Setting,
    type=click.Path(path_type=Path, file_okay=False),
    show_default="a folder in runs, named after the settings",
    help="Run folder.",
)


@command.command(cls=Documented, short_help="Train all paths of a space at once.")
@click.option(
    "--space", metavar="NAME", cls=Setting, show_default="psvit2d", help=f"Space: {_SPACES}."
)
@labelled_data_option
@number_option("--classes", "20", "Classes of the fractals.", click.IntRange(min=2))
@number_option("--train-images", "8000", "Images to train on, over all classes.")
@number_option("--validation-images", "1000", "Images set apart, to choose paths by.")
@number_option("--test-images", "1000", "Images that neither sees.")
@number_option("--image-size", "64", "Side of the square images, in pixels.")
@number_option("--width", "48", "Channels of the first stage.")
@number_option("--epochs", "60", "Times that every training image is seen.")
@number_option("--batch-size", "64", "Images in a batch; each trains one path.")
@recipe_options
@seed_option
@_device
@_preset
@_out
@fresh_option
@quiet_option
@json_option
@click.pass_context
def train(
    context: click.Context,
    /,
    *,
    device: str,
    preset: str,
    out: Path | None,
    fresh: bool,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Train the supernet of a space: every batch trains one path drawn at random.

    Given again, the same command continues a run that was stopped, or shows the result of a
    finished one.
    """
    given = {name: value for name, value in options.items() if value is not None}
    settings = _training_settings(preset, given)
    from asvit.runs.supernets.run import train_supernet

    last: SupernetEvent | None = None

    def follow(event: SupernetEvent) -> None:
        nonlocal last
        last = event
        watch.moment(_step(event))

    try:
        with supernet_progress(_training_title(settings), quiet=quiet) as watch:
            result = train_supernet(
                out=out,
                device=device,
                fresh=fresh,
                preset=preset,
                progress=follow,
                image_progress=watch.images,
                **given,
            )
    except KeyboardInterrupt:
        done = None if last is None else f"in step {last.step} of {last.steps}"
        _stopped(context, done or "before its first step")
        raise
    if last is None and not quiet:
        click.echo("this supernet had been trained before; --fresh starts it over", err=True)
    if as_json:
        emit_json({"folder": result.folder, **result.to_json()})
    if not (as_json and quiet):
        show_supernet(result, console(err=as_json))


@command.command(cls=Documented, short_help="Find the best path of a supernet.")
@click.argument("supernet", type=click.Path(path_type=Path, file_okay=False), required=False)
@number_option("--population", "50", "Paths in a generation.")
@number_option("--generations", "20", "Generations, the random first one among them.")
@number_option("--keep", "10", "Best paths that children come from.")
@number_option("--crossovers", "25", "Children of two in a generation.", _FROM_ZERO)
@number_option("--mutations", "25", "Children of one in a generation.", _FROM_ZERO)
@number_option("--mutation-probability", "0.2", "Probability of a cell to be drawn anew.", float)
@click.option(
    "--max-macs",
    cls=Setting,
    metavar="N",
    callback=count,
    show_default="those of the DeiT of its size",
    help="Most multiply-adds of a path, as 20M or 1.3G.",
)
@click.option(
    "--min-macs",
    cls=Setting,
    metavar="N",
    callback=count,
    show_default="0",
    help="Fewest of them.",
)
@number_option("--random-paths", "50", "Random paths of any cost to compare with.")
@seed_option
@click.option(
    "--retrain", is_flag=True, help="Then train the winner from scratch, for as many steps."
)
@_device
@_preset
@_out
@fresh_option
@quiet_option
@json_option
@click.pass_context
def evolve(
    context: click.Context,
    /,
    *,
    supernet: Path | None,
    retrain: bool,
    device: str,
    preset: str,
    out: Path | None,
    fresh: bool,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Find the best path of the supernet in the run folder SUPERNET by evolution.

    Paths inherit the supernet's weights; none is trained. Without SUPERNET it takes the newest
    finished one in runs. Given again, the same command continues a run that was stopped, or shows
    the result of a finished one; more generations extend it.
    """
    given = {name: value for name, value in options.items() if value is not None}
    settings = _evolution_settings(preset, given)
    from asvit.runs import newest_run
    from asvit.runs.supernets.evolution import evolve_supernet

    source = newest_run("supernet") if supernet is None else supernet
    last: Moment | None = None

    def follow(event: EvolutionEvent) -> None:
        best = f"best {event.best.architecture} ({percent(event.best.fitness)})"
        told = f"generation {event.generation}  {best}"
        show(Moment(event.done, event.total, event.resumed, event.seconds, told, "path"))

    def show(moment: Moment) -> None:
        nonlocal last
        last = moment
        watch.moment(moment)

    try:
        with supernet_progress(_evolution_title(settings, source), quiet=quiet) as watch:
            result = evolve_supernet(
                source,
                out=out,
                device=device,
                retrain=retrain,
                fresh=fresh,
                preset=preset,
                progress=follow,
                retrain_progress=lambda event: show(_step(event, "training step")),
                image_progress=watch.images,
                **given,
            )
    except KeyboardInterrupt:
        done = None if last is None else f"after {last.unit} {last.done} of {last.total}"
        _stopped(context, done or "before its first path")
        raise
    if last is None and not quiet:
        click.echo("all its paths had been evaluated before; --fresh starts it over", err=True)
    if as_json:
        emit_json({"folder": result.folder, **result.to_json()})
    if not (as_json and quiet):
        show_evolution(result, console(err=as_json))


for _subcommand in (train, evolve):
    _subcommand.params.append(debug_option())


def _training_settings(preset: str, given: dict[str, Any]) -> SupernetSettings:
    """The settings that the options ask for.

    Raises:
        click.UsageError: If a name is unknown or a value is not allowed.
    """
    from asvit.spaces import SPACES
    from asvit.training.supernets.settings import PRESETS, make_settings

    known("preset", preset, list(PRESETS))
    if "space" in given:
        known("space", given["space"], list(SPACES))
    try:
        return make_settings(preset, **given)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _evolution_settings(preset: str, given: dict[str, Any]) -> EvolutionSettings:
    """The same of an evolution."""
    from asvit.search.supernet_settings import PRESETS, make_settings

    known("preset", preset, list(PRESETS))
    try:
        return make_settings(preset, **given)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _step(event: SupernetEvent, unit: str = "step") -> Moment:
    """What to tell of a step of training."""
    told = f"loss {event.loss:.3f}"
    return Moment(event.step, event.steps, event.resumed, event.seconds, told, unit)


def _stopped(context: click.Context, where: str) -> None:
    click.echo(f"stopped {where}; to go on: {again(context)}", err=True)


def _training_title(settings: SupernetSettings) -> str:
    return (
        f"training the supernet of {settings.space}: {settings.epochs} epochs of "
        f"{settings.train_images} images in batches of {settings.batch_size}, {settings.images}, "
        f"{settings.image_size} px, width {settings.width}, seed {settings.seed}"
    )


def _evolution_title(settings: EvolutionSettings, supernet: Path) -> str:
    return (
        f"evolving paths of {shlex.quote(str(supernet))}: {settings.generations} generations of "
        f"{settings.population}, seed {settings.seed}"
    )

"""``asvit scale``: grow an architecture to a budget, and show the whole series."""

from __future__ import annotations

from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asvit.cli.app import again
from asvit.cli.correlate_tables import show_reliability
from asvit.cli.growth_progress import growth_progress
from asvit.cli.manual import Documented
from asvit.cli.options import (
    POSITIVE,
    Setting,
    fresh_option,
    json_option,
    known,
    known_proxies,
    measuring_options,
    proxy_option,
    quiet_option,
    registered,
    worker_options,
)
from asvit.cli.output import console, emit_json, networks, table
from asvit.cli.progress import clock, short
from asvit.cli.reliability import find_table, judge, reference_option

if TYPE_CHECKING:
    from rich.console import Console

    from asvit.executors import Workers
    from asvit.growth import ScaleSettings
    from asvit.runs import ScaleResult
    from scaling import GrowthEvent


def share(_context: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    """A share written as ``2%``, ``0.02`` or ``1/50``; None when absent."""
    if value is None:
        return None
    text, percent = value.strip().removesuffix("%"), value.strip().endswith("%")
    try:
        number = float(Fraction(text.strip())) / (100 if percent else 1)
    except (ValueError, ZeroDivisionError, OverflowError):
        raise click.BadParameter(f"{value!r} is not a share such as 2%, 0.02 or 1/4") from None
    if not 0 < number <= 1:
        raise click.BadParameter(f"{value!r} is not above 0 and at most 1")
    return number


@click.command(cls=Documented)
@click.option(
    "--budget",
    metavar="BUDGET",
    default="88M",
    show_default=True,
    help="Where to end: parameters (88M) or multiply-adds (22G); or several, as 30M,50M,88M.",
)
@click.option(
    "--arch",
    "architecture",
    cls=Setting,
    metavar="ARCH",
    show_default="what the newest search in runs ended in",
    help="Architecture to start from.",
)
@click.option(
    "--stop-within",
    cls=Setting,
    callback=share,
    metavar="SHARE",
    show_default="2%",
    help="How near the end must come to the largest budget.",
)
@click.option(
    "--ratio",
    cls=Setting,
    callback=share,
    metavar="SHARE",
    show_default="0.25",
    help="Width to measure at over full width.",
)
@click.option(
    "--width-multiple",
    cls=Setting,
    metavar="N",
    type=POSITIVE,
    show_default="1",
    help="Round widths to multiples of N; 4 is what the released code does.",
)
@click.option(
    "--count-size",
    cls=Setting,
    metavar="N",
    type=POSITIVE,
    show_default="224",
    help="Side of the images that multiply-adds are counted for, in pixels.",
)
@proxy_option
@measuring_options
@worker_options
@click.option(
    "--preset",
    metavar="NAME",
    shell_complete=registered("asvit.growth", "PRESETS"),
    default="default",
    show_default=True,
    help="Settings to start from; options given beside it win (see asvit list presets).",
)
@reference_option
@click.option(
    "--out",
    cls=Setting,
    type=click.Path(path_type=Path, file_okay=False),
    show_default="a folder in runs, named after the settings",
    help="Run folder.",
)
@fresh_option
@quiet_option
@json_option
@click.pass_context
def command(
    context: click.Context,
    /,
    *,
    budget: str,
    architecture: str | None,
    preset: str,
    reference: str | None,
    out: Path | None,
    fresh: bool,
    quiet: bool,
    as_json: bool,
    workers: Workers | None,
    **options: Any,
) -> None:
    """Grow an architecture to a budget without training.

    Every step adds one block and some width; the result is the whole series of models. Given
    again, the same command continues a run that was stopped, or shows the result of a finished
    one. A larger budget extends it.
    """
    text, origin = _seed(architecture)
    given = {name: value for name, value in options.items() if value is not None}
    settings = _checked(preset, {**given, "architecture": text, "budgets": budget})
    benchmark = find_table(reference)  # before the long part
    from asvit.runs import run_scaling

    asked = {"budget": budget, "out": out, "preset": preset, "workers": workers, **given}
    last: GrowthEvent | None = None

    def follow(event: GrowthEvent) -> None:
        nonlocal last
        last = event
        watch.event(event)

    try:
        with growth_progress(_title(settings, origin), quiet=quiet) as watch:
            result = run_scaling(
                architecture,
                fresh=fresh,
                progress=follow,
                image_progress=watch.images,
                **asked,
            )
    except KeyboardInterrupt:
        where = "before its first step" if last is None else f"in step {last.step}"
        click.echo(f"stopped {where}; to go on: {again(context)}", err=True)
        raise
    if last is None and not quiet:
        click.echo("this scaling had finished before; --fresh starts it over", err=True)
    if benchmark is not None:
        # The newest search may be another one by now; the start is what it was.
        run = partial(run_scaling, result.settings.architecture, **asked)
        result = judge(context, benchmark, settings, run, quiet=quiet)
    if as_json:
        emit_json({"folder": result.folder, **result.to_json()})
    if not (as_json and quiet):
        show_result(result, console(err=as_json))


def _seed(architecture: str | None) -> tuple[str, str]:
    """The architecture to start from and where it comes from, in words.

    Raises:
        click.UsageError: If it is none.
        OSError: If none is given and there is no finished search.
    """
    if architecture is None:
        from asvit.runs import newest_run
        from asvit.runs.scale import seed_of

        run = newest_run()
        return seed_of(run), f"the seed of {run}"
    from asvit.runs.growable import find_growable

    try:
        return str(find_growable(architecture)[1]), "--arch"
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _checked(preset: str, given: dict[str, Any]) -> ScaleSettings:
    """The settings that the options ask for.

    Raises:
        click.UsageError: If a name is unknown or a value is not allowed.
    """
    from asvit.growth import PRESETS, make_settings

    known("preset", preset, list(PRESETS))
    if "proxies" in given:
        known_proxies(given["proxies"])
    try:
        return make_settings(preset, **given)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _title(settings: ScaleSettings, origin: str) -> str:
    """What is about to be grown, and on what."""
    from proxies.evaluation import resolve_device

    return (
        f"growing {settings.architecture} ({origin}) to {settings.budgets[-1]}: "
        f"{networks(settings.repeats)} each, {settings.image_size} px, "
        f"device {resolve_device(settings.device)}, seed {settings.seed}"
    )


def show_result(result: ScaleResult, screen: Console) -> None:
    """Write the series on ``screen``, the model nearest to each budget, and what to type next."""
    measures = list(result.series[0].values)
    columns = ["step", "architecture", "width", "params", "multiply-adds", *map(short, measures)]
    cells = [
        [row.step, row.architecture, row.width, row.params, row.macs, *row.values.values()]
        for row in result.series
    ]
    screen.print()
    screen.print(table(columns, cells, title="The series", left=("architecture",)))
    for budget, row in result.nearest():
        side = "below" if budget.gap(row) >= 0 else "above"
        screen.print(
            f"nearest to {budget}: step {row.step}, {row.architecture} "
            f"({row.params:,} params, {row.macs:,} multiply-adds, "
            f"{abs(budget.gap(row)):.1%} {side})"
        )
    steps = len(result.series) - 1
    screen.print(
        f"{steps} steps, {len(result.candidates) - 1} candidates in {clock(result.wall_seconds)}"
    )
    if not result.reached:
        screen.print(f"not as near as asked: {result.reason}")
    if result.reliability is not None:
        show_reliability(result.reliability, screen)
    screen.print(f"folder: {result.folder} (report.html, steps.csv, result.json, figures)")
    screen.print(f"next:   {result.next_command}")

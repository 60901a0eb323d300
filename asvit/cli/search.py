"""``asvit search``: find a seed architecture, and say where it is and what to type next."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asvit.cli.app import again
from asvit.cli.correlate_tables import show_reliability
from asvit.cli.estimate import dry_run_option, estimate_search
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
from asvit.cli.output import emit_json
from asvit.cli.progress import search_progress
from asvit.cli.reliability import find_table, judge, reference_option
from asvit.console import clock, console, networks, short, table

if TYPE_CHECKING:
    from rich.console import Console

    from asvit.executors import Workers
    from asvit.runs import SearchResult
    from asvit.search import SearchSettings, StepEvent, TrialRow


@click.command(cls=Documented)
@click.option(
    "--steps",
    cls=Setting,
    metavar="N",
    type=POSITIVE,
    show_default="500",
    help="Architectures to measure.",
)
@click.option(
    "--space",
    metavar="NAME",
    cls=Setting,
    shell_complete=registered("asvit.spaces", "SPACES"),
    show_default="asvit",
    help="Search space (see asvit list spaces).",
)
@click.option(
    "--controller",
    metavar="NAME",
    cls=Setting,
    shell_complete=registered("asvit.search", "CONTROLLERS"),
    show_default="reinforce",
    help="What proposes architectures (see asvit list controllers).",
)
@proxy_option
@measuring_options
@click.option(
    "--batch",
    cls=Setting,
    metavar="N",
    type=POSITIVE,
    show_default="1",
    help="Architectures drawn before the controller learns from any, and measured side by side.",
)
@worker_options
@click.option(
    "--preset",
    metavar="NAME",
    shell_complete=registered("asvit.search", "PRESETS"),
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
@click.option(
    "--storage", metavar="URL", help="Optuna storage to use instead of a journal in the folder."
)
@fresh_option
@dry_run_option
@quiet_option
@json_option
@click.pass_context
def command(
    context: click.Context,
    /,
    *,
    preset: str,
    reference: str | None,
    out: Path | None,
    storage: str | None,
    fresh: bool,
    dry_run: bool,
    quiet: bool,
    as_json: bool,
    workers: Workers | None,
    **options: Any,
) -> None:
    """Search for a seed architecture without training.

    Given again, the same command continues a run that was stopped, or shows the result of a
    finished one. More steps than before extend it.
    """
    given = {name: value for name, value in options.items() if value is not None}
    settings = _checked(preset, given)
    if dry_run:
        estimate_search(
            settings,
            _title(settings),
            out=out,
            storage=storage,
            fresh=fresh,
            workers=workers,
            quiet=quiet,
            as_json=as_json,
        )
        return
    benchmark = find_table(reference)  # before the long part
    from asvit.runs import run_search

    run = partial(run_search, out=out, storage=storage, preset=preset, workers=workers, **given)
    last: StepEvent | None = None

    def follow(event: StepEvent) -> None:
        nonlocal last
        last = event
        watch.step(event)

    try:
        with search_progress(_title(settings), quiet=quiet) as watch:
            result = run(fresh=fresh, progress=follow, image_progress=watch.images)
    except KeyboardInterrupt:
        click.echo(_how_to_go_on(context, last), err=True)
        raise
    if last is None and not quiet:
        click.echo("this search had finished before; --fresh starts it over", err=True)
    if benchmark is not None:
        result = judge(context, benchmark, settings, run, quiet=quiet)
    if as_json:
        emit_json({"folder": result.folder, **result.to_json()})
    if not (as_json and quiet):
        show_result(result, console(err=as_json))


def _checked(preset: str, given: dict[str, Any]) -> SearchSettings:
    """The settings that the options ask for.

    Raises:
        click.UsageError: If a name is unknown or a value is not allowed.
    """
    from asvit.search import CONTROLLERS, PRESETS, make_settings
    from asvit.spaces import SPACES

    known("preset", preset, list(PRESETS))
    if "controller" in given:
        known("controller", given["controller"], list(CONTROLLERS))
    if "space" in given:
        known("space", given["space"], list(SPACES))
    if "proxies" in given:
        known_proxies(given["proxies"])
    try:
        return make_settings(preset, **given)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _how_to_go_on(context: click.Context, last: StepEvent | None) -> str:
    """The line about a search that was interrupted after the step ``last``."""
    where = "before its first step" if last is None else f"after step {last.step} of {last.steps}"
    return f"stopped {where}; to go on: {again(context)}"


def _title(settings: SearchSettings) -> str:
    """What is about to be searched, and on what."""
    from proxies.evaluation import resolve_device

    return (
        f"searching {settings.space} by {settings.controller}: {settings.steps} architectures, "
        f"{networks(settings.repeats)} each, {settings.image_size} px, "
        f"device {resolve_device(settings.device)}, seed {settings.seed}"
    )


def show_result(result: SearchResult, screen: Console) -> None:
    """Write what a search has found on ``screen``, where it is, and what to type next."""
    from asvit.search.rows import without_sizes

    measures = without_sizes(result.values)
    columns = ["", "architecture", "params", "multiply-adds", *map(short, measures)]

    def line(name: str, of: SearchResult | TrialRow, architecture: str) -> list[object]:
        values = [of.values[measure] for measure in measures]
        return [name, architecture, of.params, of.macs, *values]

    rows = [line("seed", result, result.seed_architecture)]
    rows += [line(f"step {row.number + 1}", row, row.architecture) for row in result.front]
    title = "The seed architecture, and the best of those measured"
    screen.print()
    screen.print(table(columns, rows, title=title, left=("", "architecture"), rule=1))
    told = [f"{result.steps} architectures in {clock(result.wall_seconds)}"]
    first, last = result.entropy
    if math.isfinite(first) and math.isfinite(last):
        told.append(f"entropy {first:.2f} to {last:.2f} nats")
    if result.failures:
        told.append(f"{result.failures} failed")
    if result.reason:
        told.append(f"of the seed {result.reason}")
    screen.print("; ".join(told))
    if result.reliability is not None:
        show_reliability(result.reliability, screen)
    screen.print(f"folder: {result.folder} (report.html, trials.csv, result.json, figures)")
    screen.print(f"next:   {result.next_command}")

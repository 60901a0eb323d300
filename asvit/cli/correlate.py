"""``asvit correlate``: how well measures rank the architectures of a reference table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asvit.cli.app import again
from asvit.cli.correlate_progress import table_progress
from asvit.cli.correlate_tables import show_result
from asvit.cli.manual import Documented
from asvit.cli.options import (
    POSITIVE,
    Setting,
    completes,
    fresh_option,
    json_option,
    known,
    measuring_options,
    names,
    quiet_option,
    registered,
    worker_options,
)
from asvit.cli.output import emit_json
from asvit.console import console, networks

if TYPE_CHECKING:
    from asvit.executors import Workers
    from asvit.reference import ReferenceTable
    from asvit.reference.settings import CorrelationSettings
    from asvit.runs.correlation.measure import RowEvent
    from asvit.runs.correlation.plan import Plan

_QUESTION = ("proxies", "targets", "rows", "max_params")


def shown_defaults(**texts: str) -> Callable[[click.Command], click.Command]:
    """Say in the help of shared options what leaving them out means here."""

    def changed(command: click.Command) -> click.Command:
        for parameter in command.params:
            if isinstance(parameter, click.Option) and parameter.name in texts:
                parameter.show_default = texts[parameter.name]
        return command

    return changed


def _proxies() -> list[str]:
    from proxies import PROXIES

    return ["all", *PROXIES]


@shown_defaults(image_size="the table's own", repeats="2")
@click.command(cls=Documented)
@click.option(
    "--reference",
    required=True,
    metavar="TABLE",
    shell_complete=registered("asvit.reference", "REFERENCES"),
    help="Name of a reference table (see asvit list references), or the path of a CSV file.",
)
@click.option(
    "--proxy",
    "proxies",
    cls=Setting,
    multiple=True,
    callback=names,
    metavar="NAME",
    shell_complete=completes(_proxies),
    show_default="all",
    help="Measure to correlate, or a+b for the sum of the ranks by a and by b; repeat it or "
    "separate names by commas.",
)
@click.option(
    "--target",
    "targets",
    cls=Setting,
    multiple=True,
    callback=names,
    metavar="NAME",
    show_default="the table's own",
    help="Accuracies to correlate with, by the name of their column; or all.",
)
@click.option(
    "--rows", metavar="N", type=POSITIVE, help="Take only N rows of the table, drawn by the seed."
)
@click.option(
    "--max-params", metavar="SIZE", help="Take only rows of at most so many parameters: 100M."
)
@measuring_options
@worker_options
@click.option(
    "--preset",
    metavar="NAME",
    shell_complete=registered("asvit.reference.settings", "PRESETS"),
    default="default",
    show_default=True,
    help="Settings to start from; options given beside it win.",
)
@click.option(
    "--out",
    cls=Setting,
    type=click.Path(path_type=Path, file_okay=False),
    show_default="a folder in runs, named after the table",
    help="Run folder.",
)
@click.option("--retry", is_flag=True, help="Measure again what failed.")
@fresh_option
@quiet_option
@json_option
@click.pass_context
def command(
    context: click.Context,
    /,
    *,
    reference: str,
    preset: str,
    out: Path | None,
    retry: bool,
    fresh: bool,
    quiet: bool,
    as_json: bool,
    workers: Workers | None,
    **options: Any,
) -> None:
    """Tell how well measures rank the architectures of a reference table by accuracy.

    Every measure stands beside the counts, such as parameters and multiply-adds, which are always
    taken. Given again, with other measures or targets, too, the command measures only what it
    does not know yet.
    """
    given = {name: value for name, value in options.items() if value is not None}
    asked = {name: given.pop(name) for name in _QUESTION if name in given}
    found, settings, plan = _checked(reference, preset, given, asked)
    from asvit.runs import run_correlation

    last: RowEvent | None = None

    def follow(event: RowEvent) -> None:
        nonlocal last
        last = event
        watch.row(event)

    try:
        with table_progress(_title(plan, settings), quiet=quiet) as watch:
            result = run_correlation(
                found,
                target=asked.pop("targets", None),
                out=out,
                workers=workers,
                progress=follow,
                image_progress=watch.images,
                fresh=fresh,
                retry=retry,
                preset=preset,
                **asked,
                **given,
            )
    except KeyboardInterrupt:
        where = "before its first row" if last is None else f"after row {last.row} of {last.rows}"
        click.echo(f"stopped {where}; to go on: {again(context)}", err=True)
        raise
    if last is None and not quiet:
        click.echo("nothing to measure: every score is known; --fresh starts over", err=True)
    if as_json:
        emit_json({"folder": result.folder, **result.to_json()})
    if not (as_json and quiet):
        show_result(result, console(err=as_json))


def _checked(
    reference: str, preset: str, given: dict[str, Any], asked: dict[str, Any]
) -> tuple[ReferenceTable, CorrelationSettings, Plan]:
    """The table, the settings and the plan that the options ask for.

    Raises:
        click.UsageError: If a name is unknown or a value is not allowed.
        ValueError: If the table is none.
        OSError: If there is no such table.
    """
    from asvit.reference import load_reference
    from asvit.reference.settings import PRESETS, make_question, make_settings
    from asvit.runs.correlation.plan import make_plan

    known("preset", preset, list(PRESETS))
    try:
        settings, question = make_settings(preset, **given), make_question(**asked)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    found = load_reference(reference)
    try:
        return found, settings, make_plan(found, question, seed=settings.seed)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _title(plan: Plan, settings: CorrelationSettings) -> str:
    """What is about to be measured, and on what."""
    from proxies.evaluation import resolve_device

    size = f"{settings.image_size} px" if settings.image_size else "each at its own size"
    return (
        f"measuring {len(plan.rows)} architectures of {plan.table.name}: "
        f"{len(plan.measures)} measures, {networks(settings.repeats)} each, {size}, "
        f"device {resolve_device(settings.device)}, seed {settings.seed}"
    )

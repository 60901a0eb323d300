"""The command of a kind of run: its options follow from the fields of its settings and its own."""

import logging
import shlex
from itertools import chain
from pkgutil import resolve_name
from typing import Any

import click

from asvit.cli.config_file import check_typed, config_option
from asvit.cli.manual import Documented
from asvit.cli.options import (
    checked_choice,
    emit_json,
    json_option,
    names_in,
    parameters,
    preset_option,
    quiet_option,
    with_workers,
)
from asvit.cli.session import Session, debug_option
from asvit.core.command_line import typed_options
from asvit.core.console import console
from asvit.core.display import progress_display, say
from asvit.core.progress import Progress
from asvit.core.results import RUNS
from asvit.core.settings import Option, fields_of, option_fields, option_of
from asvit.executors.base import Workers
from asvit.runs import KINDS
from asvit.runs.reporting import show

logger = logging.getLogger(__name__)

Kind = Any  # a kind of run
_DRY_RUN = "Only tell what would be done and how long it would take; write nothing."
_GROUPS = {
    "supernet": "Search with shared weights: train a supernet, then choose among its paths.",
    "transfer": "Train detectors and segmenters, with a network as their backbone.",
}


def command_of(name: str) -> click.Command:
    """The command of the program with this name: a kind of run, or the group of several."""
    if name in KINDS:
        return run_command(resolve_name(KINDS[name]))
    if name in RUNS:
        return run_command(RUNS[name])

    @click.pass_context
    def check(context: click.Context) -> None:
        if context.invoked_subcommand is None:
            raise click.UsageError(f"missing command; use {' or '.join(group.commands)}", context)

    group = click.Group(name, callback=check, help=_GROUPS.get(name), invoke_without_command=True)
    for words, kind in RUNS.items():
        if words.startswith(f"{name} "):
            group.add_command(run_command(kind))
    if not group.commands:  # a kind that a package names, and that cannot be imported
        raise ImportError(f"asvit {name} is not available, for the reason above")
    return group


def run_command(kind: Kind) -> click.Command:
    """The click command of a kind of run."""

    @quiet_option
    @json_option
    @debug_option
    @click.pass_context
    def call(
        context: click.Context, /, *, preset: str, quiet: bool, as_json: bool, **options: Any
    ) -> None:
        check_typed(context)
        if measuring:
            options = with_workers(options)
        dry = options.pop("dry_run", False)
        if dry:
            data, lines = kind.dry_run(_run(kind, preset, options), quiet=quiet)
        else:
            result = _result_of(context, kind, preset, options, quiet=quiet or not kind.first())
            place = {"folder": result.folder} if result.kept else {}
            data, lines = {**place, **result.to_json()}, ()
        if not kind.first():
            return
        if as_json:
            emit_json(data)
        if as_json and quiet:
            return
        screen = console(err=as_json)
        for line in lines:
            screen.print(line, soft_wrap=True)
        if not dry:
            show(kind, result, screen)

    workers = fields_of(kind.options_type).get("workers")
    measuring = workers is not None and option_of(workers) is None
    dry_run = click.Option(["--dry-run"], is_flag=True, help=_DRY_RUN)
    return click.command(
        cls=Documented,
        name=kind.command.split()[-1],
        help=kind.help,
        short_help=kind.help.partition("\n")[0],
        params=[
            *parameters(kind.settings_type),
            *parameters(*[Workers] * measuring, kind.options_type),
            preset_option(kind.settings_type),
            config_option(),
            *[dry_run] * (kind.dry_run is not None),
        ],
    )(call)


def _run(kind: Kind, preset: str, options: dict[str, Any]) -> Any:
    """The run that the options ask for."""
    checked_choice("preset", preset, list(kind.settings_type.presets))
    for owner in (kind.settings_type, kind.options_type):
        for name, field in option_fields(owner).items():
            option = option_of(field)
            if option is not None and ":" in option.complete and name in options:
                _check_choice(option, name, options[name])
    return kind.make(preset, **options)


def _check_choice(option: Option, name: str, value: object) -> None:
    """Check a value against the registry that completes it, which lists all there is.

    Names may be joined by commas; what takes one alone refuses several itself.
    """
    if not option.listed:
        return
    choices = names_in(option.complete)
    for item in value if isinstance(value, tuple) else (value,):
        for part in str(item).split(","):
            checked_choice(option.name or name, part.strip(), choices)


def _result_of(
    context: click.Context, kind: Kind, preset: str, options: dict[str, Any], *, quiet: bool
) -> Any:
    """The result of the run that the options ask for, with its progress on stderr."""
    last: Progress | None = None
    run: Any = None

    def follow(progress: Progress) -> None:
        nonlocal last
        last = progress
        tell(progress)

    try:
        with progress_display(lambda: "" if run is None else run.title, quiet=quiet) as tell:
            run = _run(kind, preset, {**options, "progress": follow})
            result = run.run()
    except KeyboardInterrupt:
        where = "before its first step"
        if last is not None and last.unit not in ("image", "stage"):
            of_all = "" if last.total is None else f" of {last.total:,}"
            where = f"after {last.unit} {last.done:,}{of_all}"
        if last is not None and last.stage is not None:
            where = f"in stage {last.stage.name}, {where}"
        resumable = kind.keeps or "out" in options  # else nothing is there to go on with
        aim = "go on" if resumable else "start again"
        say(f"stopped {where}; to {aim}: {again(context, run)}")
        raise
    if not run.work_done and not quiet:
        say(kind.no_work.format(noun=kind.files.noun))
    return result


def again(context: click.Context, run: Any) -> str:
    """What to type to give the command of ``context`` again after an interrupt.

    That is what was typed, and what the run took from others, of which there may be newer ones
    by then. Passwords in addresses are left out: what is on stderr often ends up in a log.
    """
    session = context.find_object(Session)
    words = [word for word in (session.arguments if session else ()) if word != "--fresh"]
    if run is not None:
        implied = run.facts.get("implied", {})
        for owner in (run.settings, run.options):
            words += chain(*typed_options(owner, implied, implied))
    return shlex.join(["asvit", *words])

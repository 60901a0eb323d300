"""The command of a kind of run: its options follow from the fields of its settings and its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from asvit.cli.display import progress_display
from asvit.cli.manual import Documented
from asvit.cli.options import (
    WorkerOptions,
    json_option,
    known,
    parameters,
    quiet_option,
    take_workers,
)
from asvit.cli.output import emit_json
from asvit.cli.session import again, debug_option
from asvit.core.console import console
from asvit.core.progress import Progress
from asvit.core.settings import Option, WrongOption, fields_of, option_of
from asvit.runs.run import Run, UnusableRunError

Kind = type[Run[Any, Any, Any]]
#: Help of a flag, and what it does instead of the run: called with ``quiet`` and ``as_json``.
Instead = tuple[str, Callable[..., None]]


def run_command(kind: Kind, **instead: Instead) -> click.Command:
    """The click command of a kind of run; its help is the docstring of the class.

    Args:
        kind: The kind of run.
        **instead: Flags that do something else with the run than to run it.
    """

    @click.pass_context
    def call(
        context: click.Context, /, *, preset: str, quiet: bool, as_json: bool, **given: Any
    ) -> None:
        given = {name: value for name, value in given.items() if value is not None}
        if measuring:
            given["workers"] = take_workers(given)
        chosen = [action for name, (_, action) in instead.items() if given.pop(name)]
        run = _made(kind, preset, given)
        if chosen:
            chosen[0](run, quiet=quiet, as_json=as_json)
            return
        result = _followed(context, run, quiet=quiet or not run.first)
        if result is None or not run.first:
            return
        if as_json:
            emit_json({"folder": result.folder, **result.to_json()})
        if not (as_json and quiet):
            kind.show(result, console(err=as_json))

    workers = fields_of(kind).get("workers")
    measuring = workers is not None and option_of(workers) is None
    command = click.command(
        cls=Documented,
        name=kind.command.split()[-1],
        help=(kind.__doc__ or kind.summary).partition("\n\n    Attributes:")[0],
        short_help=kind.summary,
    )(call)
    command.params = [
        *parameters(*kind.option_types()[:-1]),
        *parameters(*[WorkerOptions] * measuring, kind),
        _preset(kind),
        *(_flag(name, help) for name, (help, _) in instead.items()),
        *(_bare(option) for option in (quiet_option, json_option)),
        debug_option(),
    ]
    arguments = (param for param in command.params if isinstance(param, click.Argument))
    command.no_args_is_help = any(param.required for param in arguments)
    return command


def _made(kind: Kind, preset: str, given: dict[str, Any]) -> Run[Any, Any, Any]:
    """The run that the options ask for.

    Raises:
        click.UsageError: If a name is unknown or a value is not allowed.
    """
    known("preset", preset, list(kind.settings_type.presets))
    for owner in kind.option_types():
        for name, field in fields_of(owner).items():
            option = option_of(field)
            if option is not None and ":" in option.complete and name in given:
                _check_known(option, name, given[name])
    try:
        return kind.make(preset, **given)
    except UnusableRunError:
        raise
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _check_known(option: Option, name: str, value: object) -> None:
    """Check a value against the registry that completes it, which lists all there is."""
    if not option.listed:
        return
    from importlib import import_module

    module, _, registry = option.complete.partition(":")
    choices = list(getattr(import_module(module), registry))
    for one in value if isinstance(value, tuple) else (value,):
        known(option.name or name, str(one), choices)


def _followed(context: click.Context, run: Run[Any, Any, Any], *, quiet: bool) -> Any:
    """The result of a run, with its progress on stderr.

    Raises:
        KeyboardInterrupt: If it was interrupted; what to type to continue has been shown.
        click.UsageError: If an option does not suit what it is to be used with.
    """
    last: Progress | None = None

    def follow(progress: Progress) -> None:
        nonlocal last
        last = progress
        tell(progress)

    try:
        with progress_display(lambda: run.title, quiet=quiet) as tell:
            run.progress = follow
            result = run.run()
    except KeyboardInterrupt:
        where = "before its first step"
        if last is not None and last.unit != "image":
            of_all = "" if last.total is None else f" of {last.total}"
            where = f"after {last.unit} {last.done}{of_all}"
        click.echo(f"stopped {where}; to go on: {again(context)}", err=True)
        raise
    except WrongOption as error:
        raise click.UsageError(str(error)) from error
    if not run.work_done and not quiet:
        click.echo(run.no_work.format(noun=run.files.noun), err=True)
    return result


def _preset(kind: Kind) -> click.Option:
    presets = kind.settings_type.presets
    return click.Option(
        ["--preset"],
        metavar="NAME",
        default="default",
        show_default=True,
        shell_complete=lambda _c, _p, begun: [n for n in presets if n.startswith(begun)],
        help="Settings to start from; options given beside it win (see asvit list presets).",
    )


def _flag(name: str, help: str) -> click.Option:
    return click.Option([f"--{name.replace('_', '-')}", name], is_flag=True, help=help)


def _bare(option: Callable[[Callable[..., Any]], Callable[..., Any]]) -> click.Parameter:
    """The parameter that a click decorator adds."""
    holder: Any = option(lambda: None)
    return holder.__click_params__[0]  # type: ignore[no-any-return]

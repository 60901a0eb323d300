"""``--config``: the options of a command from a TOML file, checked as if they were typed."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from asvit.cli.options import paths
from asvit.core.files import expanded
from proxies.messages import first_line, unknown
from proxies.text import shown

_LARGEST = 2**20  # bytes
_OWN = ("config", "debug", "help")  # options that no file has


def config_option() -> click.Option:
    """``--config`` of a command: what is typed beside it wins."""
    return click.Option(
        ["--config"],
        metavar="FILE",
        is_eager=True,
        expose_value=False,
        callback=_take,
        shell_complete=paths,
        help="TOML file of options; those typed beside it win.",
    )


def _take(context: click.Context, _parameter: click.Parameter, name: str | None) -> None:
    """Make the options of a file the defaults of the command, which click then checks."""
    if name is None or context.resilient_parsing:
        return
    values = read_config(expanded(name))
    known = _parameters(context.command)
    taken: dict[str, Any] = {}
    for key, value in values.items():
        spelled = key.replace("-", "_")
        if spelled not in known:
            raise click.UsageError(f"{name}: {unknown('option', key, sorted(known))}", context)
        parameter = known[spelled]
        if parameter.name == "fresh":  # the same command would not go on
            message = f"{name}: fresh would start over each time; type --fresh beside the file"
            raise click.UsageError(message, context)
        if parameter.name in taken:
            raise click.UsageError(f"{name} has {_spelled(parameter)} twice", context)
        taken[str(parameter.name)] = _checked(context, parameter, f"{name}: {key}", value)
    context.default_map = taken


def check_typed(context: click.Context) -> None:
    """Refuse a program that only a file names: the file may be of somebody else's run."""
    if context.get_parameter_source("latency_command") is ParameterSource.DEFAULT_MAP:
        raise click.UsageError(
            "latency-command is a program, which a file does not start; type --latency-command "
            "beside --config",
            context,
        )


def read_config(path: Path) -> dict[str, Any]:
    """The content of a TOML file.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is no TOML in UTF-8, or too large.
    """
    with path.open("rb") as file:
        data = file.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        raise ValueError(f"{path} has more than {_LARGEST:,} bytes: no file of options")
    try:
        return tomllib.loads(data.decode("utf-8-sig"))  # some editors begin with a mark
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no TOML: {first_line(error)}") from error


def _parameters(command: click.Command) -> Mapping[str, click.Parameter]:
    """The parameters of a command, by the names that a file may use, which have no dashes.

    They are the words of the command line, and the names of the settings.
    """
    arguments = {str(one.name): one for one in command.params if isinstance(one, click.Argument)}
    options = [one for one in command.params if isinstance(one, click.Option)]
    options = [one for one in options if one.name not in _OWN]
    names = {str(one.name): one for one in options}
    return {**arguments, **names, **{_spelled(one): one for one in options}}


def _spelled(parameter: click.Parameter) -> str:
    """The name of a parameter on the command line, as a key."""
    if isinstance(parameter, click.Argument):
        return str(parameter.name)
    return max(parameter.opts, key=len).lstrip("-").replace("-", "_")


def _checked(context: click.Context, parameter: click.Parameter, where: str, value: Any) -> Any:
    """A value as click takes it: texts, as if they were typed, or whether a flag is set."""
    flag = isinstance(parameter, click.Option) and parameter.is_flag
    if flag != isinstance(value, bool):
        right = "true or false" if flag else "a text or a number"
        raise click.UsageError(f"{where} must be {right}, got {shown(_text(value))}", context)
    if flag:
        return value
    several = value if isinstance(value, list) else [value]
    if any(isinstance(one, bool) or not isinstance(one, str | int | float) for one in several):
        raise click.UsageError(
            f"{where} must be texts or numbers, got {shown(_text(value))}", context
        )
    texts = [str(one) for one in several]
    multiple = isinstance(parameter, click.Option) and parameter.multiple
    taken: Any = texts if multiple else ",".join(texts)
    try:
        parameter.type_cast_value(context, taken)
    except click.BadParameter as error:
        raise click.UsageError(f"{where}: {error.message}", context) from error
    return taken


def _text(value: Any) -> str:
    """A value of a file, as it stands there."""
    return str(value).lower() if isinstance(value, bool) else str(value)

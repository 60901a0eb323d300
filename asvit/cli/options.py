"""Options and checks that several commands share, and their JSON output.

An absent option is None, and no argument of its command, which passes on what its user typed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem
from pydantic.fields import FieldInfo

from asvit.core.codec import to_json
from asvit.core.display import say
from asvit.core.errors import wrong_option
from asvit.core.files import write_text
from asvit.core.run_files import RESULT
from asvit.core.settings import (
    Option,
    Settings,
    fields_of,
    option_fields,
    option_of,
    plain_type,
)
from asvit.executors.base import Workers
from proxies.messages import unknown
from proxies.text import shown

if TYPE_CHECKING:
    from click.types import OptionHelpExtra

TIMM = "timm:"
_METAVARS = {int: "N", float: "X"}


def names(
    _context: click.Context, _parameter: click.Parameter, values: Sequence[str]
) -> tuple[str, ...] | None:
    """Join repeated and comma-separated names into one tuple without repeats; None when absent."""
    parts = [part.strip() for value in values for part in value.split(",")]
    if not all(parts):
        raise click.BadParameter(f"{shown(','.join(values))} has an empty name in it")
    return tuple(dict.fromkeys(parts)) or None


def completes(names: Callable[[], Iterable[str]]) -> Callable[..., list[str]]:
    """A completion from ``names``, which is called only when a shell completes."""

    def complete(
        _context: click.Context, _parameter: click.Parameter, incomplete: str
    ) -> list[str]:
        head, comma, prefix = incomplete.rpartition(",")
        return [f"{head}{comma}{name}" for name in names() if name.startswith(prefix)]

    return complete


def names_in(place: str) -> list[str]:
    """The names in the registry at ``"module:NAME"``; a function is called for them."""
    entries = resolve_name(place)
    return list(entries() if callable(entries) else entries)


def registered(place: str) -> Callable[..., list[str]]:
    """A completion from :func:`names_in`."""
    return completes(lambda: names_in(place))


def paths(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """A completion of files by the shell."""
    return [CompletionItem(incomplete, type="file")]


def data_names(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """A completion of images: built-in names, and folders."""
    matches = [name for name in ("fractal", "gaussian", "digits") if name.startswith(incomplete)]
    items = [CompletionItem(name) for name in matches]
    return items or paths(context, parameter, incomplete)


def run_folders() -> list[str]:
    """The folders in ``runs`` with a result."""
    return sorted(str(path.parent) for path in Path("runs").glob(f"*/{RESULT}"))


def timm_models() -> list[str]:
    """The models of timm, as architectures."""
    import timm  # includes those that asvit registers

    return [f"{TIMM}{name}" for name in timm.list_models()]


def timm_names(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """A completion of models of timm, whose slow import waits for a first letter."""
    started = incomplete.startswith(TIMM) or (incomplete and TIMM.startswith(incomplete))
    return completes(timm_models)(context, parameter, incomplete) if started else []


def architecture_names(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[str]:
    """A completion of architectures: finished runs, and models of timm."""
    runs = completes(run_folders)(context, parameter, incomplete)
    return [*runs, *timm_names(context, parameter, incomplete)]


class Setting(click.Option):
    """An option that is None by default; its help shows the default of the settings."""

    def get_help_extra(self, ctx: click.Context) -> OptionHelpExtra:
        """The extra help of the option, with the default as a user would type it."""
        extra = super().get_help_extra(ctx)
        if "default" in extra:
            extra["default"] = extra["default"].strip("()")
        return extra


json_option = click.option(
    "--json", "as_json", is_flag=True, help="Write JSON on stdout, everything else on stderr."
)
quiet_option = click.option("--quiet", is_flag=True, help="Show no progress.")


def with_workers(options: dict[str, Any]) -> dict[str, Any]:
    """Collect the options of :class:`Workers` as ``workers``."""
    values = {name: options.pop(name) for name in fields_of(Workers) if name in options}
    with wrong_option():
        return {**options, "workers": Workers(**values)} if values else options


def checked_choice(option: str, value: str, choices: Sequence[str]) -> str:
    """Return ``value`` when it is one of ``choices``."""
    if value in choices:
        return value
    raise click.UsageError(unknown(option, value, choices))


architectures_argument = click.Argument(
    ["architectures"],
    metavar="ARCH...",
    nargs=-1,
    required=True,
    shell_complete=architecture_names,
)
images_argument = click.Argument(
    ["images"], metavar="IMAGE...", nargs=-1, required=True, shell_complete=paths
)


def canonical(texts: Sequence[str]) -> list[str]:
    """The architectures of texts and of finished runs, without repeats."""
    from asvit.use.architectures import find_architecture

    with wrong_option():
        starts = [find_architecture(text) for text in texts]
    for start in starts:
        if start.warning:
            say(f"warning: {start.warning}")
    return list(dict.fromkeys(start.text for start in starts))


def parameters(*owners: Any) -> list[click.Parameter]:
    """A click parameter for each field with an option, of settings or of a run."""
    result = []
    for owner in owners:
        for name, field in option_fields(owner).items():
            if (option := option_of(field)) is not None:
                result.append(_parameter(name, field, option))
                result[-1].group = option.group  # type: ignore[attr-defined]
    return result


def _parameter(name: str, field: FieldInfo, option: Option) -> click.Parameter:
    kind, _ = plain_type(field.annotation)
    several = kind == tuple[str, ...] and option.parse is None
    settings: dict[str, Any] = {
        "required": field.is_required() and not option.shown,
        "type": _type(kind, option),
        "metavar": option.metavar or _METAVARS.get(kind, "TEXT"),
        "callback": names if several else None,
        "shell_complete": _completion(option),
    }
    if option.argument:
        return click.Argument([name], **settings)
    spelled = f"--{(option.name or name).replace('_', '-')}"
    if field.default is True:
        spelled = f"{spelled}/--no-{spelled[2:]}"
        shown = (option.name or name).replace("_", "-")
        return Setting([spelled, name], default=True, show_default=shown, help=field.description)
    if kind is bool:
        return click.Option([spelled, name], is_flag=True, default=None, help=field.description)
    return Setting(
        [spelled, name],
        multiple=several,
        help=field.description,
        show_default=option.shown or _default_text(None if field.is_required() else field.default),
        **settings,
    )


def _type(kind: Any, option: Option) -> Any:
    if option.parse is not None:
        return _Parsed(option.parse, option.metavar)
    if kind is int:
        least = option.bounds.get("at_least")
        return _Whole(min=None if least is None else int(least))
    return _Number() if kind is float else click.STRING


class _Whole(click.IntRange):
    """A whole number, which messages call so."""

    name = "whole number"


class _Number(click.types.FloatParamType):
    """A number, likewise."""

    name = "number"


class _Parsed(click.ParamType[Any]):
    """The parameter type of a setting that parses its text."""

    def __init__(self, parse: Callable[[str], Any], name: str) -> None:
        self.name = name.lower()
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value of a text."""
        try:
            return self._parse(value) if isinstance(value, str) else value
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _completion(option: Option) -> Any:
    if ":" in option.complete:
        return registered(option.complete)
    completions = {
        "paths": paths,
        "data": data_names,
        "runs": completes(run_folders),
        "architectures": architecture_names,
    }
    return completions.get(option.complete)


def _default_text(default: Any) -> str | bool:
    """A default as a user would type it; False if there is none."""
    if default is None:
        return False
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    return f"{default:g}" if isinstance(default, float) else str(default)


def preset_option(settings: type[Settings]) -> click.Option:
    """``--preset`` of a command with these settings."""
    presets = settings.presets
    return click.Option(
        ["--preset"],
        metavar="NAME",
        default="default",
        show_default=True,
        shell_complete=lambda _c, _p, prefix: [n for n in presets if n.startswith(prefix)],
        help="Settings to start from; options given beside it win (see asvit list presets).",
    )


def emit_json(data: object) -> None:
    """Write ``data`` on stdout as strict JSON: NaN and infinity become null."""
    click.echo(_json(data))


def write_json(path: Path, data: object) -> None:
    """Write ``data`` at ``path`` in the same form, atomically."""
    write_text(path, _json(data) + "\n")


def _json(data: object) -> str:
    return json.dumps(to_json(data), indent=2, allow_nan=False)

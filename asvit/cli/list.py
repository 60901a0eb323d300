"""``asvit list``: the names that other commands accept."""

from collections.abc import Callable
from fnmatch import fnmatch
from pkgutil import resolve_name

import click

from asvit.cli.manual import Documented
from asvit.cli.options import TIMM, checked_choice, completes, emit_json, json_option, timm_models
from asvit.core.console import console, table
from asvit.core.display import say
from asvit.core.shared_settings import MeasuringSettings
from proxies.messages import nearest
from proxies.text import shown

Row = dict[str, object]


def _described(place: str, *columns: str) -> Callable[[], list[Row]]:
    """A function that lists the entries of a registry with these attributes."""
    return lambda: [
        {name: getattr(entry, name) for name in columns} for entry in resolve_name(place).values()
    ]


def _presets() -> list[Row]:
    from asvit.core.results import RUNS

    kinds = {command: kind.settings_type for command, kind in RUNS.items()}
    return [
        {"name": name, "command": command, "settings": dict(settings)}
        for command, kind in {**kinds, "score": MeasuringSettings}.items()
        for name, settings in kind.presets.items()
    ]


ABOUT = ("description", "paper")
KINDS: dict[str, Callable[[], list[Row]]] = {
    "proxies": _described("proxies:PROXIES", "name", "better", *ABOUT),
    "spaces": _described("asvit.spaces:SPACES", "name", "size", *ABOUT),
    "controllers": _described("asvit.search:CONTROLLERS", "name", *ABOUT),
    "models": lambda: [{"name": name} for name in timm_models()],
    "presets": _presets,
    "data": lambda: [source._asdict() for source in resolve_name("asvit.data:list_sources")()],
    "references": lambda: [
        {"name": name, "description": words}
        for name, words in resolve_name("asvit.reference:REFERENCES").items()
    ],
    "devices": lambda: resolve_name("asvit.runs.timing:devices")(),
}


@click.command(cls=Documented)
@click.argument("kind", metavar=f"{{{'|'.join(KINDS)}}}", shell_complete=completes(lambda: KINDS))
@click.argument("pattern", default="*")
@json_option
def command(kind: str, pattern: str, as_json: bool) -> None:
    """List what can be named: proxies, spaces, controllers, models, presets, data, and so on.

    The devices are those that PyTorch can use here, with the runtimes that asvit cost --latency
    can time on each.

    PATTERN is a wildcard on the names, such as "ntk*" or "*vit*", without the timm: of models;
    quote it, or the shell may take it for files.
    """
    wildcard = pattern.lower().removeprefix(TIMM)
    every = KINDS[checked_choice("kind", kind, list(KINDS))]()
    rows = [row for row in every if fnmatch(_bare(row), wildcard)]
    if as_json:
        emit_json(rows)
    elif rows:
        columns = list(rows[0])
        cells = [[_cell(value) for value in row.values()] for row in rows]
        words = [name for name in columns if not isinstance(rows[0][name], int)]
        console().print(table([name.replace("_", " ") for name in columns], cells, left=words))
    if not rows:
        near = nearest(wildcard, map(_bare, every))
        suggestion = "" if near is None else f"; did you mean {shown(near)}?"
        say(f"no {kind} match {shown(pattern)}{suggestion}")


def _bare(row: Row) -> str:
    """The name of a row, in lower case and without prefix, to match patterns."""
    return str(row["name"]).lower().removeprefix(TIMM)


def _cell(value: object) -> object:
    """The cell of a value."""
    if not isinstance(value, dict):
        return value
    return ", ".join(f"{name} {setting}" for name, setting in value.items()) or "as in --help"

"""The command line that gives a result again, from the options whose values are not the usual."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from asvit.core.settings import Option, Settings, fields_of, option_of

if TYPE_CHECKING:
    from asvit.runs.run import Run


def command_line(run: Run[Any, Any, Any]) -> str:
    """The command that gives the same result as a run."""
    arguments, options = ["asvit", *run.command.split()], list[str]()
    for owner in run.option_owners():
        names = typed_settings(run) if owner is run.settings else None
        more, words = typed_options(owner, names, run.typed_values)
        arguments += more
        options += words
    return shlex.join([*arguments, *options])


def typed_settings(run: Run[Any, Any, Any]) -> Collection[str]:
    """Names of the settings that a command without them would not have.

    A default may follow from other options, so each is that beside the ones typed already.
    """
    settings: Settings = run.settings
    fields = fields_of(type(settings)).values()
    required = [field.name for field in fields if field.default is dataclasses.MISSING]
    typed = {*required, *(run.typed_values.keys() & fields_of(type(settings)).keys())}
    while True:
        usual = type(settings).make(**{name: getattr(settings, name) for name in typed})
        if not (missing := settings.difference(usual).keys() - typed):
            return typed
        typed |= missing


def typed_options(
    owner: object,
    names: Collection[str] | None = None,
    values: Mapping[str, object] = MappingProxyType({}),
) -> tuple[list[str], list[str]]:
    """The words of a command line for a run or its settings: its arguments, and its options.

    ``names`` are those of the fields to type, by default of all whose value is not the default.
    What is None is left out: no text stands for it. ``values`` are typed instead of the fields'.
    """
    arguments: list[str] = []
    options: list[str] = []
    for name, field in fields_of(type(owner)).items():
        option = option_of(field)
        if option is None or not (option.repeats or name in values):
            continue
        value = values.get(name, getattr(owner, name))
        typed = value != field.default if names is None else name in names
        if typed and value is not None:
            words = arguments if option.argument else options
            words += _typed(option, name, value)
    return arguments, options


def _typed(option: Option, name: str, value: object) -> list[str]:
    """The words for the option of the field ``name`` with a value."""
    if option.argument:
        return [str(value)]
    spelled = f"--{(option.name or name).replace('_', '-')}"
    if isinstance(value, bool):
        return [spelled] if value else [f"--no-{spelled[2:]}"]
    several = value if isinstance(value, tuple) else (value,)
    if option.parse is not None:  # from one text
        several = (",".join(map(option.spell, several)),)
    return [word for value in several for word in (spelled, str(value))]

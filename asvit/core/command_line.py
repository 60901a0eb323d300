"""The command line that gives a result again, from the options whose values are not the usual."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping
from types import MappingProxyType

from asvit.core.settings import Option, Settings, fields_of, option_of


def command_line(
    command: str,
    settings: Settings,
    *more: object,
    typed: Mapping[str, object] = MappingProxyType({}),
) -> str:
    """The command that gives the same result: of these settings, and of ``more`` options.

    ``typed`` has values that are written in any case, by the names of their fields.
    """
    arguments, options = ["asvit", *command.split()], list[str]()
    for owner in (settings, *more):
        names = typed_settings(settings, typed) if owner is settings else None
        places, words = typed_options(owner, names, typed)
        arguments += places
        options += words
    return shlex.join([*arguments, *options])


def typed_settings(settings: Settings, typed_values: Mapping[str, object]) -> Collection[str]:
    """Names of the settings that a command without them would not have.

    A default may follow from other options, so each is that beside the ones typed already.
    """
    fields = fields_of(type(settings))
    required = [name for name, field in fields.items() if field.is_required()]
    named = typed_values.keys() & fields_of(type(settings)).keys()
    typed = {*required, *named, *settings.leading}
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
        typed = value != field.get_default() if names is None else name in names
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

"""Signatures of functions that take the fields of settings as keywords."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar, get_args

from asvit.core.progress import Tell
from asvit.core.settings import (
    PLACES,
    Option,
    hints_of,
    option_fields,
    option_of,
    plain_type,
    setting,
)

F = TypeVar("F", bound=Callable[..., Any])

_UNCHANGED: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class CallOptions:
    """What the function of a run takes beside the options of its command."""

    preset: str = setting(
        "default",
        "Settings to start from (see asvit list presets); those given beside it win.",
    )
    progress: Tell | None = setting(
        None,
        "Called with a progress as the run goes on: asvit.core.progress.Progress.",
        shown="a bar in a notebook",
    )


def with_options(*owners: Any, names: Mapping[str, str] = _UNCHANGED) -> Callable[[F], F]:
    """Function decorator: ``**given`` stands for the options of dataclasses.

    The function is the same; its signature, its annotations and the end of its docstring have a
    keyword for each field made by :func:`asvit.core.settings.setting`, with type and default.

    ``names`` has the keywords of fields that differ from their names; one that the function names
    itself stands for the field.
    """

    def decorate(function: F) -> F:
        written = inspect.signature(function)
        parameters = {
            name: parameter
            for name, parameter in written.parameters.items()
            if parameter.kind is not inspect.Parameter.VAR_KEYWORD
        }
        lines = []
        for owner, field, option in _options(owners):
            name = names.get(field.name, field.name)
            if name not in parameters:
                parameters[name] = _parameter(name, field, _accepted(owner, field, option))
                lines.append(f"    {name}: {_help(field, option)}")
        signature = written.replace(parameters=list(parameters.values()))
        described: Any = function
        described.__signature__ = signature
        described.__annotations__ = {
            **{name: parameter.annotation for name, parameter in parameters.items()},
            "return": signature.return_annotation,
        }
        described.__doc__ = "\n".join(
            [inspect.getdoc(function) or "", "", "Keyword Args:", *lines]
        )
        return function

    return decorate


def _options(owners: tuple[Any, ...]) -> Iterator[tuple[Any, Field[Any], Option]]:
    for owner in owners:
        for field in option_fields(owner).values():
            if (option := option_of(field)) is not None:
                yield owner, field, option


def _parameter(name: str, field: Field[Any], annotation: Any) -> inspect.Parameter:
    default = inspect.Parameter.empty if field.default is MISSING else field.default
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=annotation)


def _accepted(owner: Any, field: Field[Any], option: Option) -> Any:
    """The type of the values that a setting takes: what it is converted from, if it is."""
    declared = hints_of(owner)[field.name]
    if declared is Any or Any in get_args(declared):
        return field.type  # with a name that only type checkers import
    kind, optional = plain_type(declared)
    if kind is str and option.complete in PLACES:
        declared = Path | str
    elif option.convert is not None:
        (parameter,) = list(inspect.signature(option.convert).parameters.values())[:1]
        if parameter.annotation not in (parameter.empty, object, Any):
            declared = parameter.annotation
    return declared | None if optional or field.default is None else declared


def _help(field: Field[Any], option: Option) -> str:
    default = option.shown
    if not default and field.default not in (None, MISSING):
        default = f"``{field.default!r}``"
    return f"{option.help} Default: {default}." if default else option.help

"""Signatures of functions that take the fields of settings as keywords."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from pydantic.fields import FieldInfo

from asvit.core.progress import Tell
from asvit.core.settings import (
    PLACES,
    Option,
    Settings,
    option_fields,
    option_of,
    plain_type,
    setting,
    settings_class,
)

F = TypeVar("F", bound=Callable[..., Any])

_UNCHANGED: Mapping[str, str] = MappingProxyType({})


@settings_class
class CallOptions(Settings):
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
        for own, field, option in _options(owners):
            name = names.get(own, own)
            if name not in parameters:
                parameters[name] = _parameter(name, field, _accepted(field, option))
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


def _options(owners: tuple[Any, ...]) -> Iterator[tuple[str, FieldInfo, Option]]:
    for owner in owners:
        for name, field in option_fields(owner).items():
            if (option := option_of(field)) is not None:
                yield name, field, option


def _parameter(name: str, field: FieldInfo, annotation: Any) -> inspect.Parameter:
    default = inspect.Parameter.empty if field.is_required() else field.default
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=annotation)


def _accepted(field: FieldInfo, option: Option) -> Any:
    """The type of the values that a setting takes: what it is converted from, if it is."""
    declared: Any = field.annotation
    kind, optional = plain_type(declared)
    if kind is str and option.complete in PLACES:
        declared = Path | str
    elif option.convert is not None:
        (parameter,) = list(inspect.signature(option.convert).parameters.values())[:1]
        if parameter.annotation not in (parameter.empty, object, Any):
            declared = parameter.annotation
    return declared | None if optional or field.default is None else declared


def _help(field: FieldInfo, option: Option) -> str:
    default = option.shown
    if not default and not field.is_required() and field.default is not None:
        default = f"``{field.default!r}``"
    return f"{field.description} Default: {default}." if default else str(field.description)

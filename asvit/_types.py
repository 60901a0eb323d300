"""Values from files, held against the types that the fields of dataclasses are declared with."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from proxies.messages import shown


def is_of(value: object, declared: Any) -> bool:
    """Whether ``value`` is of the type that a field is declared with; whole numbers are floats.

    Lists are sequences, but not tuples; of a dataclass every field must be of its type.
    """
    origin, inner = typing.get_origin(declared), typing.get_args(declared)
    if declared is Any:
        return True
    if origin in (typing.Union, types.UnionType):
        return any(is_of(value, one) for one in inner)
    if origin is Literal:
        return any(type(value) is type(one) and value == one for one in inner)
    if origin is tuple:
        return isinstance(value, tuple) and _are_of(
            value, inner[:1] * len(value) if ... in inner else inner
        )
    if origin is Sequence:
        return isinstance(value, list | tuple) and _are_of(value, inner * len(value))
    if origin is Mapping:
        return isinstance(value, Mapping) and all(
            is_of(name, inner[0]) and is_of(one, inner[1]) for name, one in value.items()
        )
    if typing.is_typeddict(declared):
        kinds = typing.get_type_hints(declared)
        return isinstance(value, Mapping) and all(
            name in value and is_of(value[name], kind) for name, kind in kinds.items()
        )
    if dataclasses.is_dataclass(declared):
        return type(value) is declared and all(
            is_of(getattr(value, name), kind) for name, kind in field_types(declared).items()
        )
    if declared is Path:
        return isinstance(value, Path)
    # True is an int to Python, but not to whoever wrote the file.
    return type(value) is declared or (declared is float and type(value) is int)


def _are_of(values: Sequence[object], kinds: Sequence[Any]) -> bool:
    return len(values) == len(kinds) and all(map(is_of, values, kinds))


def field_types(declared: Any) -> dict[str, Any]:
    """The type of each field of a dataclass."""
    hints = typing.get_type_hints(declared)
    return {field.name: hints[field.name] for field in dataclasses.fields(declared)}


def check_values(content: Mapping[str, Any], declared: Mapping[str, Any]) -> None:
    """Check what stands under these names in what was read.

    Args:
        content: What was read.
        declared: Name to the type of what stands under it.

    Raises:
        KeyError: If there is no such name.
        ValueError: If something else stands there.
    """
    for name, kind in declared.items():
        if not is_of(content[name], kind):
            raise ValueError(f"{name} may not be {shown(content[name])}")


def check_types(made: Any) -> None:
    """Check that every field of a dataclass that was made of a file is of its type.

    Raises:
        ValueError: If one is not.
    """
    kinds = field_types(type(made))
    check_values({name: getattr(made, name) for name in kinds}, kinds)

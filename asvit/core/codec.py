"""JSON ⇄ dataclasses: results, settings and records, held strictly against their types.

pydantic does the work. What is ours is None for numbers that strict JSON cannot hold, and errors
in one line.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from functools import cache
from os import PathLike, fspath
from typing import Annotated, Any, TypeVar, cast

from pydantic import BeforeValidator, TypeAdapter, ValidationError

from proxies.messages import first_line
from proxies.registry import Score
from proxies.text import one_line, shown

T = TypeVar("T")

#: What reading raises where the content of a file is of another form than ours.
MALFORMED = (
    *(ArithmeticError, AttributeError, LookupError),
    *(RecursionError, TypeError, ValueError),
)

#: What wrote content that is well formed, but of another form than ours.
OTHER_VERSION = "another version of asvit may have written it"


def _number(value: Any) -> Any:
    return math.nan if value is None else value


def _score(content: Any) -> Any:
    if not isinstance(content, Mapping):
        return content
    numbers = {name: _number(content.get(name)) for name in ("value", "std")}
    return {**content, **numbers, "values": tuple(map(_number, content.get("values", ())))}


#: A number that may be NaN, which JSON has as null.
Nullable = Annotated[float, BeforeValidator(_number)]
#: A score, whose numbers may be NaN.
StoredScore = Annotated[Score, BeforeValidator(_score)]


def finite(value: float) -> float | None:
    """``value`` as strict JSON can hold it: None where it is NaN or infinite."""
    return value if math.isfinite(value) else None


def to_json(value: object) -> Any:
    """``value`` in the types of strict JSON: lists for tuples, null for NaN, text for paths."""
    if isinstance(value, float):
        return finite(value)
    if value is None or isinstance(value, str | bool | int):
        return value
    if hasattr(value, "to_json"):
        return value.to_json()
    if dataclasses.is_dataclass(value):
        return {one.name: to_json(getattr(value, one.name)) for one in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(name): to_json(item) for name, item in value.items()}
    if isinstance(value, PathLike):
        return fspath(value)
    return [to_json(item) for item in cast("Any", value)]


def parse_json(data: bytes | str) -> Any:
    """The content of strict JSON, whose numbers are finite; Python's own takes others, too."""
    return json.loads(data, parse_int=_whole, parse_float=_float, parse_constant=_float)


def _whole(text: str) -> int:
    _float(text)  # what computes with it would fail
    return int(text)


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"number {one_line(text, most=40)} is not finite")
    return value


def from_json(content: object, declared: type[T]) -> T:
    """Undo :func:`to_json`; keys that the class does not have are left aside."""
    if not isinstance(content, Mapping):
        raise ValueError(f"it may not be {shown(content)}")
    return cast("T", value_from_json(content, declared))


def value_from_json(content: object, declared: Any) -> Any:
    """The same of any type, such as ``Sequence[int]``.

    Nothing is converted but whole numbers to floats: True is no number, a text no list.
    """
    try:
        return _adapter(declared).validate_json(json.dumps(content), strict=True)
    except ValidationError as error:
        raise ValueError(_first_fault(error)) from error
    except MALFORMED as error:
        raise ValueError(first_line(error)) from error


@cache
def _adapter(declared: Any) -> TypeAdapter[Any]:
    return TypeAdapter(declared)


def _first_fault(error: ValidationError) -> str:
    """The first thing that is wrong, with the names that lead there."""
    fault = error.errors()[0]
    names = [one_line(name, most=40) for name in fault["loc"] if isinstance(name, str)]
    if fault["type"] == "missing" and isinstance(fault["loc"][-1], str):
        return f"{'.'.join(names[:-1]) or 'it'} has no {names[-1]!r}"
    place = ".".join(names)
    if fault["type"] == "value_error":
        return f"{place} {first_line(fault['ctx']['error'])}".strip()
    return f"{place} may not be {shown(fault['input'])}".strip()


def check_values(content: Mapping[str, Any], declared: Mapping[str, Any]) -> None:
    """Check the types of the values under these names in what was read."""
    for name, kind in declared.items():
        try:
            value_from_json(content[name], kind)
        except ValueError:
            raise ValueError(f"{name} may not be {shown(content[name])}") from None


def check_schema(content: Mapping[str, Any], kind: str, version: int) -> None:
    """Check that a file says of itself that it is of a kind, in the form of this version."""
    written = content["kind"], content["schema_version"]
    if written != (kind, version):
        raise ValueError(f"kind {shown(written[0])}, schema {shown(written[1])}; {OTHER_VERSION}")


def content_fault(error: BaseException) -> str:
    """What is wrong with the content of a file that raised one of :data:`MALFORMED`."""
    return f"it has no {first_line(error)}" if type(error) is KeyError else first_line(error)

"""JSON ⇄ dataclasses: results, settings and records, held strictly against their types.

cattrs does the work. What is ours is strictness (nothing is converted but whole numbers to
floats), None for numbers that strict JSON cannot hold, and errors in one line.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NewType, TypeVar, cast, get_args, get_origin, get_type_hints

from proxies.messages import first_line
from proxies.registry import Better, Score
from proxies.text import one_line, shown

if TYPE_CHECKING:
    from cattrs import Converter

    Nullable = float
else:
    #: A number that may be NaN, which JSON has as null.
    Nullable = NewType("Nullable", float)

T = TypeVar("T")

#: What reading raises where the content of a file is of another form than ours.
MALFORMED = (
    *(ArithmeticError, AttributeError, LookupError),
    *(RecursionError, TypeError, ValueError),
)

#: What wrote content that is well formed, but of another form than ours.
OTHER_VERSION = "another version of asvit may have written it"


def to_json(value: object) -> Any:
    """``value`` in the types of strict JSON: lists for tuples, null for NaN, text for paths."""
    return _plain(_converter().unstructure(value))


def from_json(content: object, declared: type[T]) -> T:
    """Undo :func:`to_json`; keys that the class does not have are left aside."""
    if not isinstance(content, Mapping):
        raise ValueError(f"it may not be {shown(content)}")
    return cast("T", value_from_json(content, declared))


def value_from_json(content: object, declared: Any) -> Any:
    """The same of any type, such as ``Sequence[int]``."""
    from cattrs import BaseValidationError

    try:
        return _converter().structure(content, declared)
    except BaseValidationError as error:
        raise ValueError(_first_fault(error)) from error
    except MALFORMED as error:
        raise ValueError(first_line(error)) from error


def is_of(value: object, declared: Any) -> bool:
    """Whether ``value``, read from a file, is of a type."""
    try:
        value_from_json(value, declared)
    except ValueError:
        return False
    return True


def check_values(content: Mapping[str, Any], declared: Mapping[str, Any]) -> None:
    """Check the types of the values under these names in what was read."""
    for name, kind in declared.items():
        if not is_of(content[name], kind):
            raise ValueError(f"{name} may not be {shown(content[name])}")


def check_schema(content: Mapping[str, Any], kind: str, version: int) -> None:
    """Check that a file says of itself that it is of a kind, in the form of this version."""
    written = content["kind"], content["schema_version"]
    if written != (kind, version):
        raise ValueError(f"kind {shown(written[0])}, schema {shown(written[1])}; {OTHER_VERSION}")


def content_fault(error: BaseException) -> str:
    """What is wrong with the content of a file that raised one of :data:`MALFORMED`."""
    return f"it has no {first_line(error)}" if type(error) is KeyError else first_line(error)


def _first_fault(error: BaseException) -> str:
    """The first error of a nest of them, with the names that lead there."""
    from cattrs import AttributeValidationNote, IterableValidationNote

    names: list[str] = []
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
        for note in getattr(error, "__notes__", ()):
            if isinstance(note, AttributeValidationNote):
                names.append(note.name)
            elif isinstance(note, IterableValidationNote):
                names.append(one_line(str(note.index), most=40))  # a key from the file
    if isinstance(error, KeyError):
        return f"{'.'.join(names[:-1]) or 'it'} has no {first_line(error)}"
    return f"{'.'.join(names)} {first_line(error)}" if names else first_line(error)


@dataclass(frozen=True)
class _NullableScore:
    """A score, whose numbers may be null in JSON."""

    value: Nullable
    std: Nullable
    values: tuple[Nullable, ...]
    better: Better
    reason: str


@cache
def _converter() -> Converter:
    from cattrs import Converter
    from cattrs.gen import make_mapping_structure_fn
    from cattrs.strategies import configure_union_passthrough

    converter = Converter(detailed_validation=True)
    configure_union_passthrough(str | bool | int | float | None, converter)

    def keyed(structure: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        """``structure`` of mappings alone; of a number or a list its error is Python's."""

        def structure_keyed(content: Any, kind: Any) -> Any:
            if not isinstance(content, Mapping):
                raise ValueError(f"may not be {shown(content)}")
            return structure(content, kind)

        return structure_keyed

    converter.register_structure_hook_factory(
        is_dataclass, lambda kind: keyed(converter.gen_structure_attrs_fromdict(kind))
    )
    converter.register_structure_hook_factory(
        _is_mapping,
        lambda kind: keyed(make_mapping_structure_fn(kind, converter, detailed_validation=True)),
    )
    for kind in (str, bool, int):
        converter.register_structure_hook(kind, _strict)
    converter.register_structure_hook(float, _number)
    converter.register_structure_hook(Path, lambda value, _: Path(_strict(value, str)))
    converter.register_unstructure_hook(Path, str)
    converter.register_structure_hook(Nullable, _nullable)
    converter.register_structure_hook(
        Score, lambda value, _: Score(**vars(converter.structure(value, _NullableScore)))
    )

    def sequence(kind: Any) -> Callable[[Any, Any], Any]:
        named = _is_named_tuple(kind)
        inner = tuple(get_type_hints(kind).values()) if named else get_args(kind)
        fixed = named or (get_origin(kind) is tuple and ... not in inner)
        hooks = [converter.get_structure_hook(item) for item in (inner if fixed else inner[:1])]

        def structure(content: Any, _kind: Any) -> Any:
            if not isinstance(content, list | tuple) or (fixed and len(content) != len(hooks)):
                raise ValueError(f"may not be {shown(content)}")
            if fixed:
                values = (h(v, k) for h, v, k in zip(hooks, content, inner, strict=True))
                return kind(*values) if named else tuple(values)
            return tuple(hooks[0](value, inner[0]) for value in content)

        return structure

    converter.register_structure_hook_func(_reads_itself, lambda value, cls: cls.from_json(value))
    converter.register_unstructure_hook_func(_reads_itself, lambda value: value.to_json())
    converter.register_structure_hook_factory(_is_sequence, sequence)
    # cattrs takes the annotations as they stand, and Python 3.14 cannot resolve texts there.
    converter.register_unstructure_hook_func(
        _is_named_tuple, lambda row: [converter.unstructure(item) for item in row]
    )
    return converter


def _strict(value: Any, kind: type) -> Any:
    if type(value) is not kind:  # True is an int to Python, but not to the author of the file
        raise ValueError(f"may not be {shown(value)}")
    return value


def _number(value: Any, _kind: Any) -> Any:
    if type(value) not in (int, float):
        raise ValueError(f"may not be {shown(value)}")
    return value


def _is_mapping(kind: Any) -> bool:
    return get_origin(kind) is Mapping


def _is_sequence(kind: Any) -> bool:
    return get_origin(kind) in (tuple, Sequence) or _is_named_tuple(kind)


def _is_named_tuple(kind: Any) -> bool:
    return hasattr(kind, "_fields")


def _reads_itself(cls: Any) -> bool:
    """Whether a class has its own ``from_json`` and ``to_json``, as settings have."""
    return isinstance(cls, type) and hasattr(cls, "from_json") and hasattr(cls, "to_json")


def _nullable(value: Any, kind: Any) -> Any:
    return math.nan if value is None else _number(value, kind)


def _plain(value: Any) -> Any:
    """``value`` in the types of strict JSON."""
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, str | bool | int) or value is None:
        return value
    if isinstance(value, float):
        return finite(value)
    return [_plain(item) for item in value]


def finite(value: float) -> float | None:
    """``value`` as strict JSON can hold it: None where it is NaN or infinite."""
    return value if math.isfinite(value) else None

"""What the settings of every kind of run have in common: fields, checks, presets, JSON.

pydantic holds types and bounds. What is ours is what a field is on the command line, and messages
in one line that name the value and what would be right.
"""

import dataclasses
import inspect
import numbers
import os
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, ClassVar, Self, dataclass_transform

from pydantic import ConfigDict, Field, ValidationError, model_validator
from pydantic.dataclasses import dataclass as checked_dataclass
from pydantic.fields import FieldInfo
from pydantic_core import ArgsKwargs

from asvit.core.codec import OTHER_VERSION, from_json, to_json
from asvit.core.errors import WrongValue
from proxies.messages import unknown
from proxies.registry import Registry
from proxies.text import shown

#: What completes the settings that may be paths, of files or of images.
PLACES = ("paths", "data")

LARGEST = 1e37  # of rates and weights; beyond it single precision has no number

LARGEST_SEED = 2**63 - 1  # seeds derived from others, and files of other programs, end there

#: Bounds of a number as pydantic names them, and as :func:`setting` takes them.
_BOUNDS = {"ge": "at_least", "gt": "above", "le": "at_most", "lt": "below"}
_TYPES = {int: "a whole number", bool: "true or false", str: "a name"}

Presets = Registry[Mapping[str, Any]]


def presets_with(**more: Mapping[str, Any]) -> Presets:
    """The presets of a kind of settings: the default, and ``more`` by their names."""
    return Registry("preset", {"default": {}, **more})


@dataclass(frozen=True)
class Option:
    """What is known of a setting beside its name, type and default."""

    bounds: Mapping[str, float]  # of a number, as ``setting`` takes them
    metavar: str = ""  # what stands for its value in --help; by its type unless given
    name: str = ""  # its name on the command line without dashes, where that is not the field's
    shown: str = ""  # its default in words, where that is not the value
    choices: Sequence[str] = ()  # the texts allowed; any that is not empty unless given
    # A value as given to the value as kept; raises ValueError.
    convert: Callable[[Any], Any] | None = None
    # The text of an option to its value; raises ValueError. By its type unless given.
    parse: Callable[[str], Any] | None = None
    # A value to the text that ``parse`` reads as it.
    spell: Callable[[Any], str] = str
    # What a shell completes it with: ``"module:REGISTRY"``, ``"paths"``, ``"data"``, ``"runs"``,
    # the folders of finished runs, or ``"architectures"``, those and models of timm.
    complete: str = ""
    repeats: bool = True  # whether it is a part of the command that gives the same result again
    argument: bool = False  # whether it is typed without the option's name
    listed: bool = True  # False if values outside the registry that completes it are valid
    several: bool = False  # whether its text may be several, separated by commas
    # Heading of the options in ``--help`` among which it stands; empty for no other.
    group: str = ""


def setting(default: Any, help: str, **options: Any) -> Any:
    """A field of settings: its default, ``...`` for none, its help and :class:`Option`.

    ``help`` is what it is, in a sentence with a full stop; bounds are ``at_least``, ``above``,
    ``at_most`` and ``below``.
    """
    limits = {sign: options.pop(name) for sign, name in _BOUNDS.items() if name in options}
    options["bounds"] = {_BOUNDS[sign]: limit for sign, limit in limits.items()}
    more: dict[str, Any] = {"option": Option(**options)}
    return Field(default, description=help, json_schema_extra=more, **limits)


def setting_of(owner: Any, name: str, **changes: Any) -> Any:
    """The same field as one of other settings, with another default, help or other options."""
    field = fields_of(owner)[name]
    option: Any = option_of(field)
    usual = ... if field.is_required() else field.default
    known = {"default": usual, "help": field.description, **vars(option), **option.bounds}
    return setting(**{**known, **changes})


#: The field of a seed.
SEED: Any = setting(0, "Seed of every random draw.", at_least=0, at_most=LARGEST_SEED)


#: The field of a device.
DEVICE: Any = setting("auto", "auto, cpu, cuda, cuda:1, ...", metavar="DEVICE")


def option_of(field: FieldInfo) -> Option | None:
    """What :func:`setting` was given for a field; None for other fields."""
    more: Any = field.json_schema_extra
    return more["option"] if isinstance(more, Mapping) else None


def _fields_of(cls: Any) -> Mapping[str, FieldInfo]:
    fields: dict[str, FieldInfo] = cls.__pydantic_fields__
    order = (name for base in cls.__mro__ for name in inspect.get_annotations(base))
    return {name: fields[name] for name in dict.fromkeys(order) if name in fields}


#: The fields of settings by name: a class's own first, then those it inherits.
fields_of: Callable[[Any], Mapping[str, FieldInfo]] = cache(_fields_of)


def option_fields(cls: Any) -> Mapping[str, FieldInfo]:
    """The fields of settings; those that stand below a heading of their own are the last."""
    fields = fields_of(cls).items()
    return dict(sorted(fields, key=lambda item: bool(getattr(option_of(item[1]), "group", ""))))


def plain_type(declared: Any) -> tuple[Any, bool]:
    """The type of a field without None, and whether None is allowed."""
    inner = typing.get_args(declared)
    if typing.get_origin(declared) in (typing.Union, types.UnionType) and type(None) in inner:
        rest = tuple(kind for kind in inner if kind is not type(None))
        return (rest[0] if len(rest) == 1 else typing.Union[rest]), True  # noqa: UP007
    return declared, False


@dataclass_transform(frozen_default=True)
def settings_class(cls: Any = None, /, *, kw_only: bool = False) -> Any:
    """Class decorator of settings: a frozen dataclass whose values are checked.

    Wrong ones raise a :class:`WrongValue`, a ValueError of one line.
    """
    if cls is None:
        return partial(settings_class, kw_only=kw_only)
    made: Any = checked_dataclass(frozen=True, kw_only=kw_only)(cls)
    check = made.__init__

    def init(self: Any, *given: Any, **named: Any) -> None:
        try:
            check(self, *given, **named)
        except ValidationError as error:
            raise _in_a_line(type(self), error) from error

    made.__init__ = init
    return made


@settings_class
class Settings:
    """Base of the frozen dataclasses that say what a run is asked to do.

    A subclass is decorated by :func:`settings_class`, and its fields are made by :func:`setting`.
    A value is checked when settings are made; a class adds checks of several values together in
    :meth:`check`.
    """

    __pydantic_config__: ClassVar[Any] = ConfigDict(
        strict=True, extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True
    )
    presets: ClassVar[Presets] = presets_with()

    @model_validator(mode="before")
    @classmethod
    def _prepare(cls, given: Any) -> Any:
        """Values as they are kept, whether given to the class or within content of a file."""
        fields = fields_of(cls)
        if isinstance(given, ArgsKwargs):
            by_place = [one.name for one in dataclasses.fields(cls) if not one.kw_only]
            values = dict(zip(by_place, given.args, strict=False)) | (given.kwargs or {})
        elif isinstance(given, Mapping):
            values = dict(given)
            if names := values.keys() ^ fields.keys():
                what = "unknown" if min(names) in values else "missing"
                raise ValueError(f"{what} setting {shown(min(names))}; {OTHER_VERSION}")
        else:
            return given
        return {
            name: _prepared(name, value, fields[name]) if name in fields else value
            for name, value in values.items()
        }

    def __post_init__(self) -> None:
        self.check()

    def check(self) -> None:
        """Check values that depend on each other; raises ValueError where they do not fit."""

    @classmethod
    def make(cls, preset: str = "default", **options: Any) -> Self:
        """Settings of a preset with some of them given anew."""
        return cls(**{**cls.presets[preset], **options})

    def to_json(self) -> dict[str, Any]:
        """The settings in the types of JSON."""
        return {name: to_json(getattr(self, name)) for name in fields_of(type(self))}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Read settings back.

        Raises:
            ValueError: If a field is unknown or missing, as when another version wrote it, or a
                value is not allowed.
        """
        return from_json(stored, cls)

    @property
    def leading(self) -> Sequence[str]:
        """Settings that a command always names, as the defaults of others follow from them."""
        return ()

    @property
    def unused(self) -> Sequence[str]:
        """Settings that have no effect beside the others."""
        return ()

    def effective(self) -> dict[str, Any]:
        """As :meth:`to_json`, without those that are unused."""
        return {name: value for name, value in self.to_json().items() if name not in self.unused}

    def difference(self, other: Self) -> dict[str, tuple[Any, Any]]:
        """Fields in which ``other`` differs: name to (value here, value there)."""
        pairs = {n: (getattr(self, n), getattr(other, n)) for n in fields_of(type(self))}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _prepared(name: str, value: Any, field: FieldInfo) -> Any:
    """A value of one of Python's own types, converted and checked beyond what pydantic checks."""
    option, (kind, optional) = option_of(field), plain_type(field.annotation)
    if option is None or (value is None and optional):
        return value
    if isinstance(value, numbers.Real) and type(value).__module__ != "builtins":  # NumPy's
        value = int(value) if isinstance(value, numbers.Integral) else float(value)
    if kind is str and isinstance(value, os.PathLike):
        value = os.fspath(value)
    if option.several and isinstance(value, str):  # equal ones have one text
        value = ",".join(part.strip() for part in value.split(","))
    if option.convert is not None:
        return option.convert(value)
    if option.choices and value not in option.choices:
        raise WrongValue(name, f"must be {' or '.join(option.choices)}, got {value!r}")
    if kind is str and value == "":
        raise WrongValue(name, "must be a name, got ''")
    if kind is float and isinstance(value, float) and value >= LARGEST:
        raise WrongValue(name, f"must be a number below {LARGEST:g}, got {shown(value)}")
    return tuple(value) if isinstance(value, list) else value


def _in_a_line(cls: type, error: ValidationError) -> Exception:
    """The first thing that is wrong: the field, its value, and what would be right."""
    fault = error.errors()[0]
    context = fault.get("ctx", {})
    if fault["type"] == "value_error":
        return context["error"]  # type: ignore[no-any-return]
    name, fields = str(fault["loc"][0]), fields_of(cls)
    if name not in fields:
        return TypeError(unknown("setting", name, fields))
    if fault["type"] == "missing":
        return WrongValue(name, "is missing")
    option: Any = option_of(fields[name])
    kind, _ = plain_type(fields[name].annotation)
    if kind is float:
        limits = [f"{bound.replace('_', ' ')} {at:g}" for bound, at in option.bounds.items()]
        words = f"a number {' and '.join(limits)}"
    elif fault["type"].startswith(("greater", "less")):
        ((sign, limit),) = context.items()
        words = f"{_BOUNDS[sign].replace('_', ' ')} {limit:g}"
    else:
        words = _TYPES.get(kind) or context.get("expected", "another").replace("'", "")
    return WrongValue(name, f"must be {words}, got {shown(fault['input'])}")

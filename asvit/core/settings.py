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
from functools import partial
from typing import Any, ClassVar, Self, dataclass_transform

from pydantic import ConfigDict, Field, ValidationError, model_validator
from pydantic.dataclasses import dataclass as checked_dataclass
from pydantic.fields import FieldInfo
from pydantic_core import ArgsKwargs, PydanticUndefined

from asvit.core.codec import MALFORMED, OTHER_VERSION, to_json
from asvit.core.errors import WrongValue
from proxies.messages import first_line, unknown
from proxies.registry import Registry
from proxies.text import shown

#: What completes the settings that may be paths, of files or of images.
PLACES = ("paths", "data")

LARGEST = 1e37  # of rates and weights; beyond it single precision has no number

LARGEST_SEED = 2**63 - 1  # seeds derived from others, and files of other programs, end there

Presets = Registry[Mapping[str, Any]]


def presets_with(**more: Mapping[str, Any]) -> Presets:
    """The presets of a kind of settings: the default, and ``more`` by their names."""
    return Registry("preset", {"default": {}, **more})


@dataclass(frozen=True)
class Option:
    """What is known of a setting beside its name, type, default and bounds."""

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


_BOUNDS = {"at_least": "ge", "above": "gt", "at_most": "le", "below": "lt"}


def setting(default: Any, help: str, **options: Any) -> Any:
    """A field of settings: its default, ``...`` for none, its help, bounds and :class:`Option`.

    ``help`` is what it is, in a sentence with a full stop; bounds are ``at_least``, ``above``,
    ``at_most`` and ``below``.
    """
    bounds = {name: options.pop(name) for name in _BOUNDS if name in options}
    more: dict[str, Any] = {"option": Option(**options), "bounds": bounds}
    checked: dict[str, Any] = {_BOUNDS[name]: limit for name, limit in bounds.items()}
    return Field(default, description=help, json_schema_extra=more, **checked)


def setting_of(owner: Any, name: str, *, default: Any = PydanticUndefined, **changes: Any) -> Any:
    """The same field as one of other settings, with another default or other options."""
    field = fields_of(owner)[name]
    usual = ... if field.is_required() else field.default
    default = usual if default is PydanticUndefined else default
    known = {**bounds_of(field), **vars(option_of(field))}
    help = changes.pop("help", field.description)
    return setting(default, help, **{**known, **changes})


def seed_setting() -> Any:
    """The field of a seed, by default 0."""
    return setting(0, "Seed of every random draw.", at_least=0, at_most=LARGEST_SEED)


def device_setting(**options: Any) -> Any:
    """The field of a device, by default ``auto``."""
    return setting("auto", "auto, cpu, cuda, cuda:1, ...", metavar="DEVICE", **options)


def option_of(field: FieldInfo) -> Option | None:
    """What :func:`setting` was given for a field; None for other fields."""
    more: Any = field.json_schema_extra
    return more["option"] if isinstance(more, Mapping) else None


def bounds_of(field: FieldInfo) -> Mapping[str, float]:
    """The bounds of a number by the names that :func:`setting` takes."""
    more: Any = field.json_schema_extra
    return more["bounds"]  # type: ignore[no-any-return]


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
        """Values as they are kept: of Python's own types, and converted where a field says so."""
        fields = cls.__pydantic_fields__  # type: ignore[attr-defined]
        if isinstance(given, ArgsKwargs):
            by_place = [one.name for one in dataclasses.fields(cls) if not one.kw_only]
            values = {**dict(zip(by_place, given.args, strict=False)), **(given.kwargs or {})}
        elif isinstance(given, Mapping):  # within what is read from a file
            values = _complete(cls, given)
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
        values = {**cls.presets[preset]}
        for name in options:
            if name not in fields_of(cls):
                raise TypeError(unknown("setting", name, fields_of(cls)))
        return cls(**{**values, **options})

    def to_json(self) -> dict[str, Any]:
        """The settings in the types of JSON."""
        return {name: to_json(getattr(self, name)) for name in fields_of(type(self))}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any], _declared: object = None) -> Self:
        """Read settings back.

        Raises:
            ValueError: If a field is unknown or missing, as when another version wrote it, or a
                value is not allowed.
        """
        if not isinstance(stored, Mapping):
            raise ValueError(f"settings must be names and their values, got {shown(stored)}")
        stored = _complete(cls, stored)
        try:
            return cls(**stored)
        except MALFORMED as error:
            raise ValueError(first_line(error)) from error

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
        names = fields_of(type(self))
        pairs = {name: (getattr(self, name), getattr(other, name)) for name in names}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _complete(cls: type[Settings], stored: Mapping[str, Any]) -> dict[str, Any]:
    """Stored settings, if they are those that there are now."""
    known = set(fields_of(cls))
    for what, names in (("unknown", set(stored) - known), ("missing", known - set(stored))):
        if names:
            raise ValueError(f"{what} setting {shown(min(names))}; {OTHER_VERSION}")
    return dict(stored)


def fields_of(cls: Any) -> dict[str, FieldInfo]:
    """The fields of settings by name: a class's own first, then those it inherits."""
    fields: dict[str, FieldInfo] = cls.__pydantic_fields__
    order = (name for base in cls.__mro__ for name in inspect.get_annotations(base))
    return {name: fields[name] for name in dict.fromkeys(order) if name in fields}


def option_fields(cls: Any) -> dict[str, FieldInfo]:
    """The fields of settings; those that stand below a heading of their own are the last."""
    fields = fields_of(cls)
    below = {name for name, field in fields.items() if getattr(option_of(field), "group", "")}
    return {name: fields[name] for name in sorted(fields, key=below.__contains__)}


def plain_type(declared: Any) -> tuple[Any, bool]:
    """The type of a field without None, and whether None is allowed."""
    inner = typing.get_args(declared)
    if typing.get_origin(declared) in (typing.Union, types.UnionType) and type(None) in inner:
        rest = tuple(kind for kind in inner if kind is not type(None))
        return (rest[0] if len(rest) == 1 else typing.Union[rest]), True  # noqa: UP007
    return declared, False


def _prepared(name: str, value: Any, field: FieldInfo) -> Any:
    """A value as it is kept, or as pydantic checks it."""
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


_LIMITS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
_TYPES = {int: "a whole number", bool: "true or false", str: "a name"}


def _in_a_line(cls: type, error: ValidationError) -> Exception:
    """The first thing that is wrong: the field, its value, and what would be right."""
    fault = error.errors()[0]
    if fault["type"] == "value_error":
        known: ValueError = fault["ctx"]["error"]
        return known
    name, value = str(fault["loc"][0]), shown(fault["input"])
    fields = fields_of(cls)
    if fault["type"] == "missing":
        return WrongValue(name, "is missing")
    if name not in fields:
        return TypeError(unknown("setting", name, fields))
    kind, _ = plain_type(fields[name].annotation)
    bounds = [f"{key.replace('_', ' ')} {n:g}" for key, n in bounds_of(fields[name]).items()]
    if kind is float:
        return WrongValue(name, f"must be a number {' and '.join(bounds)}, got {value}")
    if fault["type"].startswith(("greater", "less")):
        ((sign, limit),) = fault["ctx"].items()
        return WrongValue(name, f"must be {_LIMITS[sign]} {limit:g}, got {value}")
    expected = fault.get("ctx", {}).get("expected", "").replace("'", "")
    return WrongValue(name, f"must be {_TYPES.get(kind, expected or 'another')}, got {value}")

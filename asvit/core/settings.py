"""What the settings of every kind of run have in common: fields, checks, presets, JSON."""

import builtins
import dataclasses
import inspect
import numbers
import operator
import os
import sys
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Self, TypeVar, cast

from asvit.core.codec import MALFORMED, OTHER_VERSION, to_json
from proxies.messages import first_line, unknown
from proxies.registry import Registry
from proxies.text import shown

#: What completes the settings that may be paths, of files or of images.
PLACES = ("paths", "data")

LARGEST = 1e37  # of rates and weights; beyond it single precision has no number

LARGEST_SEED = 2**63 - 1  # seeds derived from others, and files of other programs, end there

S = TypeVar("S")

Presets = Registry[Mapping[str, Any]]


def presets_with(**more: Mapping[str, Any]) -> Presets:
    """The presets of a kind of settings: the default, and ``more`` by their names."""
    return Registry("preset", {"default": {}, **more})


@dataclass(frozen=True)
class Option:
    """What is known of a setting beside its name, its type and its default."""

    help: str  # what it is, in a sentence with a full stop; as ``--help`` and the docs show it
    metavar: str = ""  # what stands for its value there; by its type unless given
    name: str = ""  # its name on the command line without dashes, where that is not the field's
    shown: str = ""  # its default in words, where that is not the value
    at_least: float | None = None  # smallest number allowed
    above: float | None = None  # number that it must exceed
    at_most: float | None = None  # largest number allowed
    below: float = LARGEST  # number that it must not reach
    choices: Sequence[str] = ()  # the texts allowed; any that is not empty unless given
    # A value as given to the value as kept; raises ValueError. It replaces the checks.
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
    """A field of settings, or of a run: its default, ``...`` for none, and its :class:`Option`."""
    metadata = {"option": Option(help, **options)}
    if default is ...:
        return dataclasses.field(metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def setting_of(owner: Any, name: str, *, default: Any = ..., **changes: Any) -> Any:
    """The same field as one of other settings or runs, with another default or other options."""
    field = fields_of(owner)[name]
    option = dataclasses.replace(field.metadata["option"], **changes)
    default = field.default if default is ... else default
    return dataclasses.field(default=default, metadata={"option": option})


def seed_setting() -> Any:
    """The field of a seed, by default 0."""
    return setting(0, "Seed of every random draw.", at_least=0, at_most=LARGEST_SEED)


def device_setting(**options: Any) -> Any:
    """The field of a device, by default ``auto``."""
    return setting("auto", "auto, cpu, cuda, cuda:1, ...", metavar="DEVICE", **options)


def option_of(field: dataclasses.Field[Any]) -> Option | None:
    """What :func:`setting` was given for a field; None for other fields."""
    return cast("Option | None", field.metadata.get("option"))


class Settings:
    """Base of the frozen dataclasses that say what a run is asked to do.

    Fields are made by :func:`setting`. A value is checked when settings are made; a dataclass
    adds checks of several values together in :meth:`check`.
    """

    presets: ClassVar[Presets] = presets_with()

    def __post_init__(self) -> None:
        for name in fields_of(type(self)):
            value = stored_value(type(self), name, getattr(self, name))
            object.__setattr__(self, name, value)
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
        for what, names in (
            ("unknown", set(stored) - set(fields_of(cls))),
            ("missing", set(fields_of(cls)) - set(stored)),
        ):
            if names:
                raise ValueError(f"{what} setting {shown(min(names))}; {OTHER_VERSION}")
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


_FIELDS: dict[Any, dict[str, dataclasses.Field[Any]]] = {}
_HINTS: dict[Any, dict[str, Any]] = {}


def fields_of(cls: Any) -> dict[str, dataclasses.Field[Any]]:
    """The fields of a dataclass by name: its own first, then those it inherits."""
    if cls not in _FIELDS:
        by_name = {field.name: field for field in dataclasses.fields(cls)}
        order = (name for base in cls.__mro__ for name in inspect.get_annotations(base))
        _FIELDS[cls] = {name: by_name[name] for name in dict.fromkeys(order) if name in by_name}
    return _FIELDS[cls]


def option_fields(cls: Any) -> dict[str, dataclasses.Field[Any]]:
    """The fields of a dataclass; those that stand below a heading of their own are the last."""
    fields = fields_of(cls)
    options = {name: option_of(field) for name, field in fields.items()}
    below = {name for name, option in options.items() if option is not None and option.group}
    return {name: fields[name] for name in sorted(fields, key=below.__contains__)}


def hints_of(cls: Any) -> dict[str, Any]:
    """The type of each field of a dataclass; Any where it is of a module not loaded here."""
    if cls not in _HINTS:
        _HINTS[cls] = {
            name: declared
            for base in reversed(cls.__mro__)
            for name, declared in inspect.get_annotations(
                base, locals=_Loaded(vars(sys.modules[base.__module__])), eval_str=True
            ).items()
        }
    return _HINTS[cls]


class _Loaded(dict[str, Any]):
    """The names of a module; Any for those that it imports for type checkers alone."""

    def __missing__(self, name: str) -> Any:
        return getattr(builtins, name, Any)


def plain_type(declared: Any) -> tuple[Any, bool]:
    """The type of a field without None, and whether None is allowed."""
    inner = typing.get_args(declared)
    if typing.get_origin(declared) in (typing.Union, types.UnionType) and type(None) in inner:
        rest = tuple(kind for kind in inner if kind is not type(None))
        return (rest[0] if len(rest) == 1 else typing.Union[rest]), True  # noqa: UP007
    return declared, False


def stored_value(owner: Any, name: str, value: Any) -> Any:
    """The value of a field of a dataclass as it is stored; a ValueError if it is not allowed."""
    option = option_of(fields_of(owner)[name])
    if option is None:
        return value
    kind, optional = plain_type(hints_of(owner)[name])
    if isinstance(value, numbers.Real) and type(value).__module__ != "builtins":  # NumPy's
        value = int(value) if isinstance(value, numbers.Integral) else float(value)
    if value is None and optional:
        return None
    if kind is str and isinstance(value, os.PathLike):
        value = os.fspath(value)
    if option.several and isinstance(value, str):  # equal ones have one text
        value = ",".join(part.strip() for part in value.split(","))
    if option.convert is not None:
        return option.convert(value)
    if kind is bool:
        if not isinstance(value, bool):
            raise WrongValue(name, f"must be true or false, got {shown(value)}")
    elif kind is int:
        _check_whole(name, value, option)
    elif kind is float:
        _check_number(name, value, option)
    elif option.choices:
        if value not in option.choices:
            choices = " or ".join(option.choices)
            raise WrongValue(name, f"must be {choices}, got {value!r}")
    elif kind is str and (not isinstance(value, str) or not value):
        raise WrongValue(name, f"must be a name, got {shown(value)}")
    return value


def _check_whole(name: str, value: object, option: Option) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise WrongValue(name, f"must be a whole number, got {shown(value)}")
    if option.at_least is not None and value < option.at_least:
        raise WrongValue(name, f"must be at least {option.at_least:g}, got {value}")
    if option.at_most is not None and value > option.at_most:
        raise WrongValue(name, f"must be at most {option.at_most}, got {shown(value)}")


def _check_number(name: str, value: Any, option: Option) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    rules = (
        ("at least", option.at_least, operator.ge),
        ("above", option.above, operator.gt),
        ("at most", option.at_most, operator.le),
        ("below", option.below if option.at_most is None else None, operator.lt),
    )
    bounds = [(words, limit, fits) for words, limit, fits in rules if limit is not None]
    if number and all(fits(value, limit) for _, limit, fits in bounds):
        return
    large = number and value >= LARGEST
    limits = [f"{words} {limit:g}" for words, limit, _ in bounds if limit < LARGEST or large]
    raise WrongValue(name, f"must be a number {' and '.join(limits)}, got {shown(value)}")


class WrongValue(ValueError):
    """A value that a setting does not take."""

    def __init__(self, name: str, words: str) -> None:
        super().__init__(f"{name} {words}")
        self.name, self.words = name, words


class WrongOption(ValueError):
    """An option is not allowed, or does not suit what it is to be used with."""


@contextmanager
def wrong_option() -> Iterator[None]:
    """A context that turns a ValueError into a :class:`WrongOption`."""
    try:
        yield
    except ValueError as error:
        raise WrongOption(str(error)) from error

"""One grammar for the texts of architectures, and what scaling sets.

A text is ``PREFIX:CELL|CELL|...;PART=CHOICE,...``: cells of numbers between commas, then the parts
that are not the first ones of their choices. A class of architectures declares its fields, the
cells that they are in, and the values that each may have, in a text and in Python alike.
"""

import operator
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final, NamedTuple, Self, SupportsIndex, cast

from proxies.text import shown

_DECIMALS: Final = 6
#: ASCII digits only: int() also takes signs, underscores and other scripts.
_WHOLE: Final = re.compile(r"[0-9]{1,5}")
_DECIMAL: Final = re.compile(rf"[0-9]{{1,5}}(\.[0-9]{{1,{_DECIMALS}}})?")

#: Depths that scaling may set.
DEPTH_CHOICES: Final = range(1, 257)


class Limits(NamedTuple):
    """The smallest and the largest of decimal numbers, which have six decimals."""

    least: float
    most: float


#: Whole numbers, decimal ones, or words.
Choices = Sequence[int] | Limits | Sequence[str]


@dataclass(frozen=True)
class Value:
    """A field with one value."""

    name: str  #: in messages
    choices: Choices

    def checked(self, value: object) -> Any:
        """As :func:`checked_choice`."""
        return checked_choice(self.name, value, self.choices)


@dataclass(frozen=True)
class Values:
    """A field with a value for each stage or block, with choices for each or for all."""

    name: str  #: in messages, of one of them
    choices: Sequence[Choices] | Limits | range
    counts: range | None = None  #: how many there may be, where all have the same choices

    def checked(self, values: Iterable[object]) -> tuple[Any, ...]:
        """The values as plain numbers."""
        entries, choices = list(values), cast("Any", self.choices)
        if self.counts is not None:
            checked_choice(f"number of {self.name}", len(entries), self.counts)
            return tuple(checked_choice(self.name, entry, choices) for entry in entries)
        if len(entries) != len(choices):
            raise ValueError(
                f"{self.name} has {len(entries)} value(s); give one for each of {len(choices)} "
                "stages"
            )
        pairs = enumerate(zip(entries, choices, strict=True), 1)
        return tuple(checked_choice(f"stage {i} {self.name}", *pair) for i, pair in pairs)


class TextArchitecture:
    """Base of architectures with texts of the grammar: frozen dataclasses.

    A subclass declares ``prefix``, ``form``, ``fields`` and ``layout``. ``parse`` and ``str`` are
    inverses; the text leaves out what is the default. A ValueError names a value that its field
    does not have, and what is allowed.
    """

    prefix: ClassVar[str] = ""
    form: ClassVar[str]  #: of a text, with an example, for messages
    #: Attribute -> its values. Those of words are parts, behind a semicolon.
    fields: ClassVar[Mapping[str, Value | Values]]
    #: The attributes in each cell: those with one value, of which the last ones may be left out
    #: where they have a default, or one with several.
    layout: ClassVar[Sequence[Sequence[str]]]

    def __post_init__(self) -> None:
        # Accept lists (from JSON), NumPy integers and texts; store plain tuples and numbers.
        for name, field in self.fields.items():
            object.__setattr__(self, name, field.checked(getattr(self, name)))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a text; spaces around numbers are fine."""
        numbers, semicolon, parts = text.partition(";")
        cells = [
            [entry.strip() for entry in cell.split(",")]
            for cell in numbers.removeprefix(cls.prefix).split("|")
        ]
        values = cls._from_cells(cells) if numbers.startswith(cls.prefix) else None
        if values is None:
            raise ValueError(f"{shown(text)} is not {cls.form}")
        return cls(**values, **(cls._from_parts(parts) if semicolon else {}))

    def __str__(self) -> str:
        """The canonical text."""
        cells = (",".join(map(str, cell)) for cell in self._to_cells())
        parts = [
            f"{name}={getattr(self, name)}"
            for name, choices in self.parts().items()
            if getattr(self, name) != choices[0]
        ]
        return f"{self.prefix}{'|'.join(cells)}{';' * bool(parts)}{','.join(parts)}"

    @classmethod
    def parts(cls) -> Mapping[str, Sequence[str]]:
        """The parts and their choices, the published one first."""
        return {
            name: field.choices
            for name, field in cls.fields.items()
            if isinstance(field.choices, tuple) and isinstance(field.choices[0], str)
        }

    @classmethod
    def _from_cells(cls, cells: list[list[str]]) -> dict[str, Any] | None:
        """The fields in the cells of a text; None if it is of another form."""
        values: dict[str, Any] = {}
        if len(cells) != len(cls.layout):
            return None
        for names, entries in zip(cls.layout, cells, strict=True):
            if isinstance(cls.fields[names[0]], Values):
                values[names[0]] = entries
                continue
            least = sum(not hasattr(cls, name) for name in names)
            if not max(least, 1) <= len(entries) <= len(names):
                return None
            values |= dict(zip(names, entries, strict=False))
        return values

    def _to_cells(self) -> Iterable[Iterable[object]]:
        """The inverse of :meth:`_from_cells`."""
        for names in self.layout:
            first, *others = names
            if isinstance(self.fields[first], Values):
                yield getattr(self, first)
                continue
            last = [o for o in others if getattr(self, o) != getattr(type(self), o, None)]
            yield [getattr(self, name) for name in (first, *last)]

    @classmethod
    def _from_parts(cls, text: str) -> dict[str, str]:
        """The parts in ``name=value,...``; those that are left out are the published ones."""
        parts: dict[str, str] = {}
        known = cls.parts()
        for entry in text.split(","):
            name, _, value = (word.strip() for word in entry.partition("="))
            if name not in known or name in parts:
                listed = ", ".join(known) or "none"
                raise ValueError(f"{shown(entry)} names no part; use each of {listed} once")
            parts[name] = value
        return parts


class Growable:
    """Base of architectures that scaling grows: dataclasses with ``depths`` and ``width``."""

    @property
    def width_step(self) -> int:
        """What widths are rounded down to multiples of."""
        return 1

    def with_(self, *, depths: Iterable[int] | None = None, width: int | None = None) -> Self:
        """This architecture with other depths or stage-1 width; None keeps a value."""
        sizes = {"depths": depths, "width": width}
        changes = {name: value for name, value in sizes.items() if value is not None}
        return replace(self, **changes)  # type: ignore[type-var]


def checked_choice(what: str, value: object, choices: Choices) -> Any:
    """``value``, or the one that a text stands for, as a plain number or text."""
    if isinstance(choices, Limits):
        decimal = isinstance(value, float | SupportsIndex) or (
            isinstance(value, str) and _DECIMAL.fullmatch(value)
        )
        number = round(float(value), _DECIMALS) if decimal else None  # type: ignore[arg-type]
        if number is None or not choices.least <= number <= choices.most:
            raise not_allowed(what, value, choices)
        return int(number) if number.is_integer() else number
    plain = value
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        plain = int(value)
    elif isinstance(value, SupportsIndex):
        plain = operator.index(value)
    if not isinstance(plain, int | str) or plain not in choices:
        raise not_allowed(what, plain, choices)
    return plain


def not_allowed(what: str, value: object, choices: Choices) -> ValueError:
    """The error of a value that is not among its choices."""
    if isinstance(choices, Limits):
        listed = f"a number from {choices.least:g} to {choices.most:g}"
    elif isinstance(choices, range):
        listed = f"a whole number from {choices[0]} to {choices[-1]}"
    else:
        listed = f"one of {', '.join(map(str, choices))}"
    return ValueError(f"{what}={shown(value)} is not allowed; use {listed}")

"""One grammar for the texts of architectures, and what scaling sets.

A text is ``PREFIX:CELL|CELL|...;PART=CHOICE,...``: cells of values between commas, then the parts
that are not the first ones of their choices. A class of architectures declares its fields with the
values that each may have, in a text and in Python alike, and the cells that they are in.
"""

import operator
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any, ClassVar, Final, NamedTuple, Self, SupportsIndex

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
class Field:
    """What one field of an architecture may be: a value or, with ``counts``, several."""

    name: str  #: in messages, of one value
    choices: Any  #: of every value, or a tuple with those of each
    counts: range | None = None  #: how many values there may be

    def checked(self, value: Any) -> Any:
        """The value or values as plain numbers or texts; a ValueError says what is allowed."""
        if self.counts is None:
            return checked_choice(self.name, value, self.choices)
        entries = list(value)
        checked_choice(f"number of values of {self.name}", len(entries), self.counts)
        alike = not isinstance(self.choices[0], Sequence)
        staged = len(self.counts) == 1
        return tuple(
            checked_choice(
                f"stage {i + 1} {self.name}" if staged else self.name,
                entry,
                self.choices if alike else self.choices[i],
            )
            for i, entry in enumerate(entries)
        )


class TextArchitecture:
    """Base of architectures with texts of the grammar: frozen dataclasses.

    ``parse`` and ``str`` are inverses.
    """

    prefix: ClassVar[str] = ""
    form: ClassVar[str]  #: of a text, with an example, for messages
    #: Attribute -> its values. Those of words are parts, behind a semicolon.
    fields: ClassVar[Mapping[str, Field]]
    #: The attributes in the cells, such as ``"width,head_width?|heads"``. The last ones of a cell
    #: may be left out where they have a question mark, as may a cell where all have. One that is
    #: in several cells has a value in each.
    layout: ClassVar[str]

    def __post_init__(self) -> None:
        # Accept lists (from JSON), NumPy integers and texts; store plain tuples and numbers.
        for name, field in self.fields.items():
            object.__setattr__(self, name, field.checked(getattr(self, name)))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a text; spaces around values are fine."""
        numbers, semicolon, parts = text.partition(";")
        left = [
            [entry.strip() for entry in cell.split(",")]
            for cell in numbers.removeprefix(cls.prefix).split("|")
        ]
        values: dict[str, Any] = {}
        fits = numbers.startswith(cls.prefix)
        for places in cls._cells():
            name, optional, index = places[0]
            counts = cls.fields[name].counts if index is None else None
            least = max(1, sum(not optional for _, optional, _ in places))
            allowed = counts or range(least, len(places) + 1)
            if left and ((counts and not optional) or len(left[0]) in allowed):
                entries = left.pop(0)
                if counts:
                    values[name] = entries
                    continue
                for (name, _, index), entry in zip_longest(places, entries):
                    if index is not None:
                        own = getattr(cls, name)[index] if entry is None else entry
                        values.setdefault(name, []).append(own)
                    elif entry is not None:
                        values[name] = entry
            else:
                fits &= all(optional for _, optional, _ in places)
        if left or not fits:
            raise ValueError(f"{shown(text)} is not {cls.form}")
        known = cls.parts()
        for entry in parts.split(",") if semicolon else ():
            name, _, value = (word.strip() for word in entry.partition("="))
            if name not in known or name in values:
                listed = ", ".join(known) or "none"
                raise ValueError(f"{shown(entry)} names no part; use each of {listed} once")
            values[name] = value
        return cls(**values)

    def __str__(self) -> str:
        """The canonical text, without what is the default."""
        cells = []
        for places in self._cells():
            entries: list[object] = []
            for name, optional, index in places:
                value = getattr(self, name)
                if not optional or value != self.default(name):
                    one = index is None and self.fields[name].counts is None
                    entries += [value] if one else value if index is None else [value[index]]
            if entries:
                cells.append(",".join(map(str, entries)))
        parts = [
            f"{name}={getattr(self, name)}"
            for name, choices in self.parts().items()
            if getattr(self, name) != choices[0]
        ]
        return f"{self.prefix}{'|'.join(cells)}{';' * bool(parts)}{','.join(parts)}"

    def default(self, name: str) -> object:
        """What an attribute is where the text leaves it out."""
        return getattr(type(self), name)

    @classmethod
    def parts(cls) -> Mapping[str, Sequence[str]]:
        """The parts and their choices, the published one first."""
        words = {n: f.choices for n, f in cls.fields.items() if f.counts is None}
        return {name: choices for name, choices in words.items() if isinstance(choices[0], str)}

    @classmethod
    def _cells(cls) -> Iterable[list[tuple[str, bool, int | None]]]:
        """For each cell its fields, whether they are optional, and the place of a value.

        There is one where each value is in another cell.
        """
        total, seen = Counter(re.findall(r"\w+", cls.layout)), Counter[str]()
        for cell in cls.layout.split("|"):
            places = []
            for word in cell.split(","):
                name = word.removesuffix("?")
                places.append((name, name != word, seen[name] if total[name] > 1 else None))
                seen[name] += 1
            yield places


class Growable:
    """Base of architectures that scaling grows: dataclasses with ``depths`` and ``width``."""

    width_step = 1  #: what widths are rounded down to multiples of

    def with_(self, *, depths: Iterable[int] | None = None, width: int | None = None) -> Self:
        """This architecture with other depths or stage-1 width; None keeps a value."""
        sizes = {"depths": depths, "width": width}
        changes = {name: value for name, value in sizes.items() if value is not None}
        return replace(self, **changes)  # type: ignore[type-var]


def checked_choice(what: str, value: object, choices: Choices) -> Any:
    """``value``, or the one that a text stands for, as a plain number or text."""
    if isinstance(choices, Limits):
        listed = f"a number from {choices.least:g} to {choices.most:g}"
        text = isinstance(value, str) and _DECIMAL.fullmatch(value)
        if text or isinstance(value, float | SupportsIndex):
            number = round(float(value), _DECIMALS)  # type: ignore[arg-type]
            if choices.least <= number <= choices.most:
                return int(number) if number.is_integer() else number
    else:
        listed = f"{'one of ' * (len(choices) > 1)}{', '.join(map(str, choices))}"
        if isinstance(choices, range) and len(choices) > 1:
            listed = f"a whole number from {choices[0]} to {choices[-1]}"
        if isinstance(value, str) and _WHOLE.fullmatch(value):
            value = int(value)
        elif isinstance(value, SupportsIndex):
            value = operator.index(value)
        if isinstance(value, int | str) and value in choices:
            return value
    raise ValueError(f"{what}={shown(value)} is not allowed; use {listed}")

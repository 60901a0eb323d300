"""What architectures share: sizes that scaling sets, and checks of the numbers in a text."""

import operator
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final, Self, SupportsIndex

from proxies.text import shown

Choices = Sequence[int]

#: Depths that scaling may set.
DEPTH_CHOICES: Final = range(1, 257)
#: ASCII digits only, since int() also takes signs, underscores and other scripts. Five are more
#: than any choice has, and int() rejects texts of thousands.
NUMBER: Final = re.compile(r"[0-9]{1,5}")


class Growable:
    """Base of architectures that scaling grows: dataclasses with ``depths`` and ``width``."""

    @property
    def width_step(self) -> int:
        """What widths are rounded down to multiples of."""
        return 1

    def with_(
        self,
        *,
        depths: Iterable[int] | None = None,
        width: int | None = None,
        expansions: Iterable[int] | None = None,
    ) -> Self:
        """This architecture with other depths, stage-1 width or expansions; None keeps a value.

        Expansions are As-ViT's alone.

        Raises:
            ValueError: If the result is not a valid architecture.
        """
        sizes = {"depths": depths, "width": width, "expansions": expansions}
        changes = {name: value for name, value in sizes.items() if value is not None}
        return replace(self, **changes)  # type: ignore[type-var]


def checked_stages(
    name: str, field: str, values: Iterable[int], choices: Sequence[Choices]
) -> tuple[int, ...]:
    """``values`` as plain ints, each one of the choices of its stage."""
    entries = list(values)
    if len(entries) != len(choices):
        raise ValueError(
            f"{name} has {len(entries)} value(s); give one for each of {len(choices)} stages"
        )
    pairs = enumerate(zip(entries, choices, strict=True), 1)
    return tuple(
        checked_choice(f"stage {i} {field}", value, allowed) for i, (value, allowed) in pairs
    )


def checked_choice(what: str, value: object, choices: Choices) -> int:
    """``value`` as a plain int."""
    if not isinstance(value, SupportsIndex) or operator.index(value) not in choices:
        raise not_allowed(what, value, choices)
    return operator.index(value)


def not_allowed(what: str, value: object, choices: Choices) -> ValueError:
    """The error of a value that is not among its choices."""
    listed = f"one of {list(choices)}"
    if isinstance(choices, range):
        listed = f"a whole number from {choices[0]} to {choices[-1]}"
    return ValueError(f"{what}={shown(value)} is not allowed; use {listed}")

"""Every search space by its name."""

from typing import TypeVar

from asvit._text import unknown
from asvit.spaces.base import SearchSpace

S = TypeVar("S", bound=SearchSpace)

#: Name -> space, in the order in which an architecture text is tried on them.
SPACES: dict[str, SearchSpace] = {}


def register_space(cls: type[S]) -> type[S]:
    """Class decorator: add a space under its name.

    Raises:
        ValueError: If the name is taken.
    """
    if cls.name in SPACES:
        raise ValueError(f"space {cls.name!r} is already registered; use another name")
    SPACES[cls.name] = cls()
    return cls


def load_space(name: str) -> SearchSpace:
    """The space of that name.

    Raises:
        KeyError: If there is none; the message has the nearest name.
    """
    if name not in SPACES:
        raise KeyError(unknown("space", name, SPACES))
    return SPACES[name]

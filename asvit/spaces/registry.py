"""Every search space by its name."""

from typing import TypeVar

from asvit.spaces.base import SearchSpace
from proxies.registry import Registry

S = TypeVar("S", bound=SearchSpace)

#: Name -> space, in the order in which an architecture text is tried on them.
SPACES: Registry[SearchSpace] = Registry("space")


def register_space(cls: type[S]) -> type[S]:
    """Class decorator: add a space under its name.

    Raises:
        ValueError: If the name is taken.
    """
    SPACES.register(cls.name, cls())
    return cls


def load_space(name: str) -> SearchSpace:
    """The space of that name.

    Raises:
        UnknownNameError: If there is none; a KeyError and a ValueError.
    """
    return SPACES[name]

"""The registry of search spaces."""

from typing import TypeVar

from asvit.spaces.base import SearchSpace
from proxies.registry import Registry

S = TypeVar("S", bound=SearchSpace)

#: Name -> space. An architecture text without a prefix is tried on them in this order.
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

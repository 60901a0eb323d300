"""Errors of what a user asked for."""

from collections.abc import Iterator
from contextlib import contextmanager


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

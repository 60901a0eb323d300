"""Words of messages to people."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The one of ``known`` that ``name`` was most likely meant to be; None if none is like it."""
    found = get_close_matches(name, list(known), n=1)
    return found[0] if found else None


def hint(name: str, known: Iterable[str]) -> str:
    """What to write instead of ``name``: the nearest of the known names, or one of them all."""
    names = list(known)
    near = nearest(name, names)
    return f"use one of {', '.join(names)}" if near is None else f"did you mean {near!r}?"


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """The message for a name that is not among those known."""
    return f"unknown {kind} {name!r}; {hint(name, known)}"


def first_line(error: BaseException) -> str:
    """What an error says, in one line; its type where it says nothing."""
    return str(error).strip().partition("\n")[0] or type(error).__name__

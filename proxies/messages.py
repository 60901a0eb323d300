"""Words of messages to people."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable
from difflib import get_close_matches

_LONGEST = 400  # characters of a message that may repeat what came from outside
_LONGEST_NAME = 200  # of a name; looking for one like a longer one would take minutes
_LONGEST_LIST = 600  # of all names that are known

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = _repr.maxlong = _LONGEST_NAME


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The one of ``known`` that ``name`` was most likely meant to be; None if none is like it."""
    if len(name) > _LONGEST_NAME:
        return None
    found = get_close_matches(name, list(known), n=1)
    return found[0] if found else None


def hint(name: str, known: Iterable[str]) -> str:
    """What to write instead of ``name``: the nearest of the known names, or one of them all."""
    names = list(known)
    near = nearest(name, names)
    return f"use one of {listed(names)}" if near is None else f"did you mean {shown(near)}?"


def listed(names: Iterable[str]) -> str:
    """The names with commas between them, as a message may hold them."""
    return one_line(", ".join(names), most=_LONGEST_LIST)


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """The message for a name that is not among those known."""
    return f"unknown {kind} {shown(name)}; {hint(name, known)}"


def first_line(error: BaseException) -> str:
    """What an error says, in one line; its type where it says nothing."""
    return one_line(str(error).strip().partition("\n")[0]) or type(error).__name__


def one_line(text: str, *, most: int = _LONGEST) -> str:
    """``text`` as a message may hold it: nothing that a terminal obeys, and cut when long."""
    start = legible(text[:most])
    return start if len(text) <= most else f"{start}..."


def legible(text: str) -> str:
    r"""``text`` with what a terminal obeys, or does not show, written out, such as ``\x1b``.

    Whoever made a file could otherwise move the cursor, rename the window, or turn the direction
    of writing, with a text that is only looked at.
    """
    return text if text.isprintable() else "".join(map(_legible, text))


def _legible(character: str) -> str:
    return character if character.isprintable() else repr(character)[1:-1]


def shown(value: object) -> str:
    """``value`` as Python writes it, escaped, and cut when long."""
    return one_line(_repr.repr(value))

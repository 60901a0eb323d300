"""Untrusted text made safe to print: control characters escaped, and cut where it is long."""

import reprlib
from collections.abc import Iterable

_MAX_TEXT = 400  # characters of a message that may contain untrusted text
_MAX_REPR = 200  # of the texts and numbers in a value
_MAX_LIST = 600  # of a list of names

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = _repr.maxlong = _MAX_REPR


def listed(names: Iterable[str]) -> str:
    """Comma-separated names, safe for a message."""
    return one_line(", ".join(names), most=_MAX_LIST)


def one_line(text: str, *, most: int = _MAX_TEXT) -> str:
    """``text`` made safe for a message: control characters escaped, and cut if long."""
    start = legible(text[:most])
    return start if len(text) <= most else f"{start}..."


def legible(text: str) -> str:
    r"""``text`` with non-printable characters escaped, such as ``\x1b``, which move the cursor."""
    if text.isprintable():  # nearly always
        return text
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def shown(value: object) -> str:
    """``repr`` of ``value``, escaped, and cut if long."""
    return one_line(_repr.repr(value))

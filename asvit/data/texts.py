"""Names: one form of Unicode, what is alike, and many in one buffer that processes share."""

import re
from collections.abc import Iterable
from unicodedata import normalize

import numpy as np
from numpy.typing import NDArray

from proxies.text import shown

_NUMBER = re.compile(r"0*([0-9]+)(?:\.0+)?")  # whole, also as tables of floats have it


def composed(name: str) -> str:
    """``name`` in the form of Unicode (NFC) that does not depend on the system that stored it."""
    return normalize("NFC", name)


def nearly_equal(names: Iterable[str]) -> str:
    """Two names that differ in capitals, spaces or the form of a number alone; empty if none do.

    Letters alone, as of handwriting, may be capitals beside others.

    Example:
        >>> nearly_equal(["ant", "bee", "Ant"]), nearly_equal(["7", "7.0"]), nearly_equal("aA")
        ("'ant' and 'Ant'", "'7' and '7.0'", '')
    """
    seen = dict[str, str]()
    for name in names:
        words = " ".join(name.split())
        number = _NUMBER.fullmatch(words)
        form = number[1] if number else words if len(words) == 1 else words.casefold()
        if seen.setdefault(form, name) != name:
            return f"{shown(seen[form])} and {shown(name)}"
    return ""


def check_apart(names: Iterable[str], where: object) -> None:
    """Raise a ValueError for classes that are probably one, as :func:`nearly_equal` tells."""
    if pair := nearly_equal(names):
        raise ValueError(
            f"{where} has the classes {pair}, which differ in capitals, spaces or the form of a "
            "number alone; write them alike, or rename one"
        )


def packed(texts: Iterable[str]) -> NDArray[np.bytes_]:
    """Texts without zeros in one buffer, which processes that load images share as it is."""
    return np.array([text.encode(errors="surrogatepass") for text in texts], dtype=np.bytes_)


def unpacked(text: np.bytes_) -> str:
    """One of these texts."""
    return text.decode(errors="surrogatepass")

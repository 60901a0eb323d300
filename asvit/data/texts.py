"""Texts: one form of Unicode for names, and many in one buffer that processes share."""

import re
from collections.abc import Iterable, Sequence
from itertools import accumulate
from unicodedata import normalize

import numpy as np

from proxies.text import shown

_NUMBER = re.compile(r"0*([0-9]+)(?:\.0+)?")  # whole, also as tables of floats have it


def composed(name: str) -> str:
    """``name`` in the form of Unicode (NFC) that does not depend on the system that stored it.

    macOS may store an accent as a character of its own (NFD).
    """
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


class Texts(Sequence[str]):
    """Texts in one buffer, which may have any characters.

    Counting the references to a million strings would write to the memory around each, so that
    every process that loads images would soon have a copy of them all.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        parts = [text.encode(errors="surrogatepass") for text in texts]
        self._ends = np.array([0, *accumulate(map(len, parts))], dtype=np.int64)
        self._joined = b"".join(parts)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: int) -> str:  # type: ignore[override]  # slices nobody needs
        place = range(len(self))[index]
        begin, end = self._ends[place : place + 2].tolist()
        return self._joined[begin:end].decode(errors="surrogatepass")

"""Texts: one form of Unicode for names, and many in one buffer that processes share."""

from collections.abc import Iterable, Sequence
from itertools import accumulate
from unicodedata import normalize

import numpy as np


def composed(name: str) -> str:
    """``name`` in the form of Unicode (NFC) that does not depend on the system that stored it.

    macOS may store an accent as a character of its own (NFD).
    """
    return normalize("NFC", name)


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

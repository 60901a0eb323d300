"""Equal pictures under several names: kept on one side of a division, and named."""

import hashlib
import io
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asvit.data.base import (
    HEADERS,
    PARTS,
    TEST,
    TRAIN,
    Content,
    Indices,
    LabelledImages,
    Progress,
    divide,
    join,
    read_each,
)
from proxies.text import one_line

_BLOCK = 4096  # bytes from the middle of a file, which differ in nearly all files of equal size
_NAMED = 10  # pictures, or sets of equal ones, in a message


def equal_images(images: LabelledImages, progress: Progress | None = None) -> Indices:
    """The place of the first image of equal content, for each image.

    Those whose content is not known, or cannot be read, equal no other.
    """
    count = len(images)
    digests = [images.digest(index) for index in range(count)]
    if all(digests):
        return _first_of(digests)
    return (
        np.arange(count)
        if images.stored_as == "pictures"
        else equal(images.content, count, progress)
    )


def copies_of(
    images: LabelledImages, others: LabelledImages, progress: Progress | None = None
) -> dict[int, int]:
    """Places of others of which there is a copy among the images, and the place of that."""
    first = equal_images(join(images, others), progress)[len(images) :].tolist()
    return {place: twin for place, twin in enumerate(first) if twin < len(images)}


def equal(
    content: Callable[[int], Content], count: int, progress: Progress | None = None
) -> Indices:
    """The first place that has the same file or bytes, for each of so many places.

    Only those of equal size and with equal bytes in the middle are read as a whole.
    """

    def sketch(index: int) -> str:
        with suppress(OSError, ValueError), _opened(content(index)) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(size // 2)
            return f"{size} {hashlib.sha256(file.read(_BLOCK)).hexdigest()}" if size else ""
        return ""

    def digest(index: int) -> str:
        with suppress(OSError, ValueError), _opened(content(index)) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
        return ""

    sketches = dict(read_each(sketch, range(count), progress, chunk=HEADERS))
    number = Counter(sketches.values())
    alike = [at for at, sketch in sketches.items() if sketch and number[sketch] > 1]
    digests = dict(read_each(digest, alike, progress))
    return _first_of([digests.get(at) or f"of {at} alone" for at in range(count)])


def _opened(content: Content) -> io.BufferedReader | io.BytesIO:
    if isinstance(content, Path):
        return content.open("rb")
    return io.BytesIO(content if isinstance(content, bytes) else b"")


def _first_of(values: Sequence[str]) -> Indices:
    _, first, number = np.unique(values, return_index=True, return_inverse=True)
    places: Indices = first[number]
    return places


def distinct(labels: Indices, groups: Indices) -> Indices:
    """Indices of the first of each set of equal images; none of a set with several labels."""
    _, first, group = np.unique(groups, return_index=True, return_inverse=True)
    mixed = np.unique(group[labels != labels[first][group]])
    indices: Indices = np.sort(np.delete(first, mixed))
    return indices


def divide_apart(
    labels: Indices, groups: Indices, held_out: float, seed: int
) -> tuple[Indices, Indices]:
    """As :func:`asvit.data.base.divide`, with no two equal images in different parts.

    Held-out images are distinct, and their copies are in neither part. Equal images with several
    labels are never held out.
    """
    candidates = distinct(labels, groups)
    held = candidates[divide(labels[candidates], held_out, seed)[1]]
    return without_copies(groups, held), held


def without_copies(groups: Indices, held: Indices) -> Indices:
    """Indices of the images that are neither held out nor equal to one that is."""
    return np.flatnonzero(~np.isin(groups, groups[held]))


def kept_apart(parts: NDArray[np.object_], labels: Indices, groups: Indices) -> list[int]:
    """Indices of the images of given parts that stay, so that no part has a copy of another's.

    A copy stays in the first of test, validation and training that has it, once in the test. Equal
    images with several labels are only trained on.
    """
    single = distinct(labels, groups)
    stay, used = list[int](), np.empty(0, dtype=np.int64)
    for part in reversed(PARTS):
        own = np.flatnonzero((parts == part) & ~np.isin(groups, used))
        if part != TRAIN:
            own = own[np.isin(groups[own], groups[single])]
        if part == TEST:
            own = own[np.unique(groups[own], return_index=True)[1]]
        stay += own.tolist()
        used = np.union1d(used, groups[own])
    return sorted(stay)


def copies_in_words(
    names: Sequence[str], labels: Indices, groups: Indices
) -> tuple[list[list[str]], list[str]]:
    """The names of each set of equal images, and warnings: those with one label, with several."""
    members = defaultdict[int, list[int]](list)
    for place, group in enumerate(groups.tolist()):
        members[group].append(place)
    alike = [places for places in members.values() if len(places) > 1]
    advice = {
        "have copies": "none is trained on and held out, and none is held out twice",
        "are in several classes": "they are only trained on: remove those in the wrong class",
    }
    in_words = {what: list[str]() for what in advice}
    for places in alike:
        what = [*advice][len(np.unique(labels[places])) > 1]
        in_words[what].append(" = ".join(names[place] for place in places))
    lines = [
        f"{len(texts)} picture(s) {what}: {some_of(texts)}; {advice[what]}"
        for what, texts in in_words.items()
        if texts
    ]
    return [[names[place] for place in places] for places in alike], lines


def some_of(texts: Sequence[str]) -> str:
    """The first few of them, safe for a message."""
    more = f"; and {len(texts) - _NAMED:,} more" if len(texts) > _NAMED else ""
    return "; ".join(one_line(text, most=200) for text in texts[:_NAMED]) + more

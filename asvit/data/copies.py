"""Equal pictures under several names: detects them, keeps them in one part, and lists them."""

import hashlib
import os
import stat
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asvit.data.base import Indices, LabelledImages, Progress, Row, divide
from asvit.data.reading import in_parts
from proxies.text import one_line

Stored = Path | Row

_BLOCK = 4096  # bytes from the middle of a file, which differ in nearly all files of equal size
_PART = 64  # files that a thread reads in a row
_NAMED = 10  # pictures, or sets of equal ones, in a message


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def equal_images(images: LabelledImages, progress: Progress | None = None) -> Indices:
    """A number for each image, equal for stored images of equal content.

    Those whose files are not known are taken for different.
    """
    if digests := _digests(images):
        return np.unique(digests, return_inverse=True)[1]
    files = _files(images)
    return equal_files(files, progress=progress) if files else np.arange(len(images))


def copies_of(
    images: LabelledImages, others: LabelledImages, progress: Progress | None = None
) -> dict[int, int]:
    """Places of others of which there is a copy among the images, and the place of that."""
    digests, theirs = _digests(images), _digests(others)
    if digests and theirs:
        place_of = {digest: place for place, digest in enumerate(digests)}
        return {at: place_of[digest] for at, digest in enumerate(theirs) if digest in place_of}
    files, other_files = _files(images), _files(others)
    return twins(files, other_files, progress=progress) if files and other_files else {}


def _digests(images: LabelledImages) -> Sequence[str]:
    """The SHA-256 of all images; none where that of one is not known."""
    digests = [images.digest(index) for index in range(len(images))]
    return digests if all(digests) else ()


def _files(images: LabelledImages) -> Sequence[Stored]:
    """Where the files of all images are; none where that of one is not known."""
    files = [images.stored(index) for index in range(len(images))]
    return () if None in files else [file for file in files if file is not None]


def equal_files(
    files: Sequence[Stored], *, border: int | None = None, progress: Progress | None = None
) -> Indices:
    """A number for each file, equal for files of equal content: the place of the first of them.

    Only files of equal size are opened, and only those with equal bytes in the middle are read as
    a whole. One that cannot be read equals no other. ``progress`` is told of each of these rounds.
    With a ``border``, files before it are only compared with those from there on.
    """
    numbers = np.arange(len(files))
    alike: list[Sequence[int]] = [range(len(files))]
    for fact in (_size, _middle, _digest):
        own = [files[index] for part in alike for index in part]
        values = in_parts(_or_none(fact), own, _PART, progress)
        parts = defaultdict[tuple[int, Hashable], list[int]](list)
        for number, part in enumerate(alike):
            for index, value in zip(part, values, strict=False):  # parts share the values
                if value is not None:
                    parts[number, value].append(index)
        alike = [part for part in parts.values() if len(part) > 1]  # each in ascending order
        if border is not None:
            alike = [part for part in alike if part[0] < border <= part[-1]]
    for part in alike:
        numbers[part] = part[0]
    return numbers


def twins(
    files: Sequence[Stored], others: Sequence[Stored], *, progress: Progress | None = None
) -> dict[int, int]:
    """Places of other files of which there is a copy among ``files``, and the copy's place.

    Files at the same path are copies and are not read.
    """
    places = {file: place for place, file in enumerate(files)}
    same = {at: places[file] for at, file in enumerate(others) if file in places}
    rest = [at for at in range(len(others)) if at not in same]
    border = len(files)
    groups = equal_files([*files, *(others[at] for at in rest)], border=border, progress=progress)
    first = groups[border:].tolist()
    return same | {at: twin for at, twin in zip(rest, first, strict=True) if twin < border}


def _or_none(fact: Callable[[Stored], Hashable]) -> Callable[[Stored], Hashable]:
    """The fact of a file, or None of one that cannot be read."""

    def value(file: Stored) -> Hashable:
        with suppress(OSError):
            return fact(file)
        return None

    return value


def _size(file: Stored) -> int | None:
    if isinstance(file, Row):
        return file.size or None  # empty ones are no copies
    about = file.stat()
    if not stat.S_ISREG(about.st_mode) or not about.st_size:
        raise OSError(f"{file} is not a picture")  # opening a pipe would wait for its writer
    return about.st_size


def _middle(file: Stored) -> bytes:
    if isinstance(file, Row):
        content = file.content(file.place)
        return content[len(content) // 2 :][:_BLOCK]
    with file.open("rb") as opened:
        opened.seek(opened.seek(0, os.SEEK_END) // 2)
        return opened.read(_BLOCK)


def _digest(file: Stored) -> str:
    if isinstance(file, Row):
        return hashlib.sha256(file.content(file.place)).hexdigest()
    return file_digest(file)


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
    """Indices of the images of a given division that stay, so that parts have no copies of others.

    A copy stays in the first of test, validation and training that has it, once in the test. Equal
    images with several labels are only trained on.
    """
    sound = groups[distinct(labels, groups)]
    stay: list[int] = []
    used = np.empty(0, dtype=np.int64)
    for part in ("test", "validation", "train"):
        own = np.flatnonzero((parts == part) & ~np.isin(groups, used))
        if part != "train":
            own = own[np.isin(groups[own], sound)]
        if part == "test":
            own = own[np.unique(groups[own], return_index=True)[1]]
        stay += own.tolist()
        used = np.union1d(used, groups[own])
    return sorted(stay)


def sets_of_equal(groups: Indices) -> list[Indices]:
    """The indices of each set of two or more equal images."""
    order = np.argsort(groups, kind="stable")
    ends = np.flatnonzero(np.diff(groups[order])) + 1
    sets = [part for part in np.split(order, ends) if len(part) > 1]
    return sorted(sets, key=lambda part: int(part[0]))


def copies_in_words(names: Sequence[str], labels: Indices, groups: Indices) -> Iterator[str]:
    """Warnings about equal images: those with one label, and those with several."""
    alike: dict[bool, list[str]] = {False: [], True: []}
    for part in sets_of_equal(groups):
        several = len(set(labels[part].tolist())) > 1
        alike[several].append(" = ".join(names[index] for index in part))
    if copies := alike[False]:
        yield (
            f"{len(copies)} picture(s) have copies: {some_of(copies)}; none is trained on and "
            "held out, and none is held out twice"
        )
    if mixed := alike[True]:
        yield (
            f"{len(mixed)} picture(s) are in several classes: {some_of(mixed)}; they are only "
            "trained on: remove those in the wrong class"
        )


def some_of(texts: Sequence[str]) -> str:
    """The first few of them, safe for a message."""
    more = f"; and {len(texts) - _NAMED:,} more" if len(texts) > _NAMED else ""
    return "; ".join(one_line(text, most=200) for text in texts[:_NAMED]) + more

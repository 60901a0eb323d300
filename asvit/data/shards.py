"""Images in tar archives, in WebDataset's layout: ``KEY.jpg`` beside ``KEY.cls``.

An index of all members is read first, and then any image by itself. So the order of images is
that of any other set: by seed and epoch, for any number of workers, and from the middle of an
epoch on. The library webdataset streams archives instead: its order depends on the number of
workers, and it does not go on within an epoch.
"""

import io
import os
import re
import tarfile
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import IO, NamedTuple, cast

import numpy as np

from asvit.core.files import expanded
from asvit.data.base import Extent, LabelledImages, naming
from asvit.data.copies import read_extent
from asvit.data.decoding import ENDINGS, check_open, kind_of_images, read_open
from asvit.data.folders import SYSTEM
from asvit.data.kinds import ImageKind, Picture
from asvit.data.texts import Texts, check_apart, composed
from proxies.messages import first_line
from proxies.text import one_line, shown

SHARDS = "wds:"

_LABEL = "cls"
_LONGEST_LABEL = 200  # bytes
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")


class _Member(NamedTuple):
    """A file in an archive."""

    name: str
    begin: int  # of its content in the archive, bytes
    size: int  # bytes


class ShardedDataset(LabelledImages):
    """The images of archives that a pattern names, as ``train-{0000..1023}.tar`` or ``*.tar``.

    A sample is an image and a file of the same name but for its ending ``.cls``, which holds the
    class: a number or another text. ``reading`` is as of a folder.

    Raises:
        ValueError: If a file is no plain tar archive or not a whole one, or a sample has no class.
        FileNotFoundError: If no file has such a name.
    """

    def __init__(self, pattern: str, *, reading: str = "") -> None:
        self._shards, self.reading = shards_of(pattern), reading
        self._shard_names = _names_of(self._shards)
        images, labels, counts = list[_Member](), list[str](), list[int]()
        for shard in self._shards:
            own = [*_samples(shard)]
            images += [image for image, _ in own]
            labels += [label for _, label in own]
            counts.append(len(own))
        if not images:
            raise ValueError(f"no images in {shown(pattern)}; use samples of KEY.jpg and KEY.cls")
        self._names = Texts(image.name for image in images)
        self._extents = np.array([(image.begin, image.size) for image in images])
        self._shard = np.repeat(np.arange(len(self._shards)), counts)
        classes = sorted(set(labels), key=_place)
        check_apart(classes, one_line(pattern))
        places = {label: place for place, label in enumerate(classes)}
        super().__init__(
            f"shards {Path(pattern).name}, {len(labels)} images, {len(classes)} classes",
            tuple(classes),
            np.array([places[label] for label in labels], dtype=np.int64),
        )

    @cached_property
    def kind(self) -> ImageKind:
        """The kind of its images, from their headers."""
        places = {self.name(index): index for index in range(len(self))}
        return kind_of_images(
            [*places], lambda name: self._opened(places[name]), self.reading, self.source
        )

    def picture(self, index: int) -> Picture:
        """Read image ``index``; a ValueError names one that cannot be read."""
        with naming(f"image {self.name(index)!r}"):
            return read_open(self._opened(index), self.kind, self.ground)

    def check(self, index: int) -> None:
        """Read the header of image ``index``."""
        with naming(f"image {self.name(index)!r}"):
            check_open(self._opened(index), self.kind)

    def name(self, index: int) -> str:
        """Return the archive of image ``index`` and its name there, as ``0001.tar/0042.jpg``.

        Where names of archives repeat, they are with their folders, as ``b/0001.tar``.
        """
        return f"{self._shard_names[int(self._shard[index])]}/{self._names[index]}"

    def stored(self, index: int) -> Extent:
        """Where image ``index`` is in its archive."""
        begin, size = self._extents[index].tolist()
        return Extent(self._shards[int(self._shard[index])], begin, size)

    def _opened(self, index: int) -> IO[bytes]:
        return io.BytesIO(read_extent(self.stored(index)))


def _place(label: str) -> tuple[bool, int, str]:
    """Where a class is among others: numbers are in their order, then words as folders are."""
    number = label.isdecimal()
    return not number, len(label) if number else 0, label


def shards_of(pattern: str) -> list[Path]:
    """The archives that a pattern names, in order: ``{000..123}`` and wildcards are expanded."""
    if (braces := _RANGE.search(pattern)) is not None:
        first, last = braces.groups()
        numbers = range(int(first), int(last) + 1)
        texts = (f"{number:0{len(first)}d}" for number in numbers)
        parts = (pattern[: braces.start()] + text + pattern[braces.end() :] for text in texts)
        return [shard for part in parts for shard in shards_of(part)]
    path = expanded(pattern)
    shards = [path] if path.is_file() else sorted(path.parent.glob(path.name)) if path.name else []
    if not shards:
        raise FileNotFoundError(
            f"no archive {shown(pattern)}; give e.g. wds:train-{{000..123}}.tar"
        )
    return shards


def _names_of(shards: Sequence[Path]) -> list[str]:
    """Names of archives; where some repeat, relative to the folder that all are in."""
    names = [shard.name for shard in shards]
    if len(set(names)) == len(names):
        return names
    folder = os.path.commonpath([shard.parent for shard in shards])
    return [shard.relative_to(folder).as_posix() for shard in shards]


def _samples(shard: Path) -> Iterator[tuple[_Member, str]]:
    """The images of an archive with their classes."""
    images, labels, others = dict[str, _Member](), dict[str, _Member](), dict[str, _Member]()
    for member in _members(shard):
        if any(part.startswith(SYSTEM) for part in member.name.split("/") if part.strip(".")):
            continue
        folder, _, name = member.name.rpartition("/")
        key, _, ending = name.partition(".")
        place = f"{folder}/{key}"
        if f".{ending.lower()}" in ENDINGS:
            files = images
        elif ending == _LABEL:
            files = labels
        else:
            if f".{ending.lower().rpartition('.')[2]}" in ENDINGS:
                others[place] = member
            continue
        if place in files:
            raise ValueError(
                f"{shard} has key {shown(place.lstrip('/'))} twice: {shown(files[place].name)} "
                f"and {shown(member.name)}; a key needs one image and one .{_LABEL} file"
            )
        files[place] = member
    for key in labels.keys() - images.keys():
        raise ValueError(
            f"{shard} has {shown(labels[key].name)} without an image beside it, which has the "
            "name up to the first dot and the ending of an image"
        )
    for key in others.keys() - images.keys():  # of other samples such an image is a further file
        raise ValueError(
            f"{shard} has {shown(others[key].name)}, whose key ends at the first dot, and no "
            "image of that key; use no dots in keys"
        )
    for key, image in images.items():
        if key not in labels:
            raise ValueError(f"{shard} has {shown(image.name)} without a .{_LABEL} file beside it")
        _, begin, size = labels[key]
        content = read_extent(Extent(shard, begin, min(size, _LONGEST_LABEL)))
        try:
            label = composed(content.decode().strip())
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{shard} has a class in {shown(labels[key].name)} that is not UTF-8; write it so"
            ) from error
        if any(ord(character) < ord(" ") for character in label):
            raise ValueError(
                f"{shard} has a class in {shown(labels[key].name)} that is no text "
                f"({shown(content)}); write numbers in digits"
            )
        if not label:
            raise ValueError(
                f"{shard} has no class in {shown(labels[key].name)}; write one into it"
            )
        yield image, label


def _members(shard: Path) -> list[_Member]:
    """The files in an archive; a hard link is the file that it leads to."""
    try:
        with tarfile.open(shard, "r:") as archive:
            entries = archive.getmembers()
            _check_end(archive)
    except (tarfile.TarError, ValueError, OverflowError) as error:
        raise ValueError(
            f"{shard} is no plain tar archive, or not a whole one ({first_line(error)}); unpack "
            "compressed ones"
        ) from error
    files = dict[str, _Member]()
    members = []
    for entry in entries:
        if entry.isreg() and not entry.issparse():
            member = _Member(entry.name, entry.offset_data, entry.size)
        elif entry.islnk() and entry.linkname in files:
            member = files[entry.linkname]._replace(name=entry.name)
        elif entry.name.endswith((*ENDINGS, f".{_LABEL}")) and not entry.isdir():
            raise ValueError(
                f"{shard} has {shown(entry.name)} as a link or a sparse file; store its content"
            )
        else:
            continue
        files[entry.name] = member
        members.append(member)
    return members


def _check_end(archive: tarfile.TarFile) -> None:
    """Check that zeros follow the last member: tarfile takes a damaged one for the end."""
    file = cast("IO[bytes]", archive.fileobj)
    file.seek(archive.offset)
    if len(end := file.read(tarfile.BLOCKSIZE)) < tarfile.BLOCKSIZE or end.strip(b"\0"):
        raise tarfile.ReadError(f"no file and no end of the archive at byte {archive.offset}")
    while rest := file.read(1 << 20):
        if rest.strip(b"\0"):
            raise tarfile.ReadError("more follows its end, as of joined archives")

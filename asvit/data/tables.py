"""Tables of images in CSV: their files, classes, parts and digests."""

import csv
import io
import os
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, unquote

import numpy as np

from asvit.core.tables import csv_text, read_cells
from asvit.data.base import PARTS, TRAIN, LabelledImages, View, join
from asvit.data.copies import file_digest
from asvit.data.folders import ImageFiles
from asvit.data.idx import idx_parts
from asvit.data.kinds import CONVERTED, GREY_PICTURES, Picture
from asvit.data.texts import check_apart, composed, packed, unpacked
from proxies.messages import first_line
from proxies.text import shown

_NEEDED = ["image", "class", "part"]
_COLUMNS = [*_NEEDED, "sha256"]
_ROOT = "# images in "  # first line of a table whose images are in another folder

#: Place, size and times of a file, of which one differs if its content does -> its SHA-256.
Seen = MutableMapping[tuple[int, ...], str]


class ListedImage(NamedTuple):
    """A row of a table of images."""

    name: str  # file, relative to the folder of the images
    label: str
    part: str
    digest: str = ""  # SHA-256 of its content, in hexadecimal; empty if the table has none


class ListedDataset(View):
    """The images of one part of a CSV table, as :func:`list_text` writes it.

    Its columns may be in any order, ``sha256`` may be missing, and others do not count. Files are
    relative to the folder of the table, or to the one that its first line names, which may also be
    one of IDX files. All parts have all classes. A file must have the SHA-256 of the table.
    """

    def __init__(self, table: Path, part: str = TRAIN, *, reading: str = "") -> None:
        self.root, rows = _read_list(table)
        own = [row for row in rows if row.part == part]
        if not own:
            raise ValueError(f"{table} has no images for part {part!r}")
        classes = sorted({row.label for row in rows})
        label_of = {label: place for place, label in enumerate(classes)}
        labels = np.array([label_of[row.label] for row in own], dtype=np.int64)
        where = f"{table.parent.resolve().name}/{table.name}"
        source = f"{where}, {len(own)} images, {len(classes)} classes, part {part}"
        places = np.arange(len(own))
        whole: LabelledImages
        if idx := _idx_images(self.root, reading):
            whole, place_of = idx
            if missing := [row.name for row in own if row.name not in place_of]:
                raise ValueError(f"{str(self.root)!r} has no image {shown(missing[0])} of {table}")
            places = np.array([place_of[row.name] for row in own])
        else:
            names = (row.name for row in own)
            whole = ImageFiles(self.root, names, source, tuple(classes), labels, reading=reading)
        pairs = np.stack([np.zeros_like(places), places], axis=1)
        super().__init__([whole], pairs, source, tuple(classes), labels)
        self._digests = packed(row.digest for row in own)

    def picture(self, index: int) -> Picture:
        picture, digest = super().picture(index), self.digest(index)
        if digest:
            path = self.path(index)
            if digest != (super().digest(index) if path is None else file_digest(path)):
                raise ValueError(f"image {self.name(index)!r} has changed since it was listed")
        return picture

    def digest(self, index: int) -> str:
        return unpacked(self._digests[index])


def _idx_images(root: Path, reading: str = "") -> tuple[View, Mapping[str, int]] | None:
    """The images of all IDX files in a folder, and the places of their names; None without."""
    if not (parts := idx_parts(root, CONVERTED.get(reading, GREY_PICTURES))):
        return None
    images = join(*parts.values())
    return images, {images.name(place): place for place in range(len(images))}


def table_parts(table: Path, *, reading: str = "") -> Mapping[str, ListedDataset]:
    """The images of each part of a table."""
    there = [part for part in PARTS if has_part(table, part)]
    return {part: ListedDataset(table, part, reading=reading) for part in there}


def root_of(path: Path) -> Path:
    """The folder of the images of a table; another path as it is."""
    return _read_list(path)[0] if is_table(path) else path


def is_table(path: Path) -> bool:
    """Whether a path is that of a table, by its ending in any case."""
    return path.suffix.lower() == ".csv" and path.is_file()


def has_part(table: Path, part: str) -> bool:
    """Whether a table has images for a part."""
    return any(row.part == part for row in _read_list(table)[1])


def changed_images(
    table: Path, part: str, seen: Seen, *, root: Path | None = None
) -> dict[str, str]:
    """Images of a part that differ from their row in the table: their names, and why.

    Files in ``seen`` are not read again. ``root`` replaces the folder of the images.
    """
    listed, rows = _read_list(table)
    folder = root or listed
    idx = _idx_images(folder)

    def change(row: ListedImage) -> str:
        try:
            if idx is None:
                digest = digest_of(folder / row.name, seen)
            else:
                digest = idx[0].digest(idx[1][row.name])
        except (FileNotFoundError, KeyError):
            return "it is missing"
        except OSError as error:
            return f"it cannot be read: {error.strerror or type(error).__name__}"
        return "" if row.digest in ("", digest) else "its content has changed"

    changes = {row.name: change(row) for row in rows if row.part == part}
    return {name: why for name, why in changes.items() if why}


def digest_of(path: Path, seen: Seen) -> str:
    """SHA-256 of a file, which is not read again while it stays as it is."""
    about = path.stat()
    state = (about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns)
    if state not in seen:
        seen[state] = file_digest(path)
    return seen[state]


def _read_list(table: Path) -> tuple[Path, Sequence[ListedImage]]:
    """The folder of the images of a table, and its rows."""
    about = table.stat()
    return _read_list_once(table, (about.st_size, about.st_mtime_ns, about.st_ino))


@lru_cache(maxsize=2)  # a design opens its list dozens of times
def _read_list_once(table: Path, _state: object) -> tuple[Path, Sequence[ListedImage]]:
    try:
        # Of a user, who may keep it behind a link, unlike a file of a run.
        content = table.read_bytes().decode("utf-8").removeprefix("\ufeff")  # as Excel begins
        first, text = split_list(content)
        rows = csv.reader(io.StringIO(text, newline=""))
        header = read_cells(next(rows, []))
        if not {*_NEEDED} <= {*header} or len({*header}) < len(header):
            raise ValueError(
                f"its columns are {shown(header)}; use {', '.join(_NEEDED)}, and optionally sha256"
            )
        images = [
            _row(dict(zip(header, cells, strict=True)))
            for cells in map(read_cells, filter(None, rows))
        ]
        check_apart(sorted({image.label for image in images}), "it")
        # A spreadsheet may have filled the line up with empty cells; a folder's commas are quoted.
        root = unquote(first[len(_ROOT) :].rstrip("\r\n,"), errors="surrogateescape")
        return table.parent / root, images
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{table} is not a table of images: {first_line(error)}") from error


def _row(row: Mapping[str, str]) -> ListedImage:
    name, label, part = row["image"], composed(row["class"]), row["part"]
    if part not in PARTS:
        raise ValueError(f"{shown(name)} has part {shown(part)}; use {', '.join(PARTS)}")
    if not label:
        raise ValueError(f"{shown(name)} has no class; name it, or leave the row out")
    return ListedImage(name, label, part, row.get("sha256", "").lower())


def split_list(text: str) -> tuple[str, str]:
    """The line of a table that names the folder of its images, or nothing, and the rest."""
    end = text.find("\n") + 1 if text.startswith(_ROOT) else 0
    return text[:end], text[end:]


def root_line(table: Path, images: Path) -> str:
    """The first line of a table, which names the folder of its images, relative to its own."""
    root = os.path.relpath(images.resolve(), table.parent.resolve())
    return f"{_ROOT}{quote(root, errors='surrogateescape')}\n"


def list_text(rows: Iterable[ListedImage]) -> str:
    """The text of a table, without the line that names a folder."""
    return csv_text([_COLUMNS, *rows])

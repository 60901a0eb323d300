"""Tables of images in CSV: their files, classes, parts and digests."""

import csv
import io
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import numpy as np

from asvit.core.tables import read_cells
from asvit.data.base import (
    PARTS,
    TRAIN,
    LabelledImages,
    check_apart,
    composed,
    files_below,
    join,
    packed,
    subset,
)
from asvit.data.idx import idx_parts
from proxies.messages import first_line
from proxies.text import shown

_NEEDED = ["image", "class", "part"]
COLUMNS = [*_NEEDED, "sha256"]
ROOT = "# images in "  # first line of a table whose images are in another folder


class ListedImage(NamedTuple):
    """A row of a table of images."""

    name: str  # file, relative to the folder of the images
    label: str
    part: str
    digest: str = ""  # SHA-256 of its content, in hexadecimal; empty if the table has none


def open_table(
    table: Path, part: str = TRAIN, *, reading: str = "", root: Path | None = None
) -> LabelledImages:
    """The images of one part of a CSV table, with all classes of the table.

    Its columns ``image``, ``class``, ``part`` and perhaps ``sha256`` may be in any order, and
    others do not count. Files are relative to ``root``, else to the folder that its first line
    names, else to that of the table; it may also be one of IDX files. An image must have the
    SHA-256 of the table.
    """
    listed, rows = _read_list(table)
    root, own = root or listed, [row for row in rows if row.part == part]
    if not own:
        raise ValueError(f"{table} has no images for part {part!r}")
    classes = tuple(sorted({row.label for row in rows}))
    label_of = {label: place for place, label in enumerate(classes)}
    labels = np.array([label_of[row.label] for row in own], dtype=np.int64)
    where = f"{table.parent.resolve().name}/{table.name}"
    source = f"{where}, {len(own)} images, {len(classes)} classes, part {part}"
    if idx := idx_parts(root, reading):
        whole = join(*idx.values())
        place_of = {whole.name(place): place for place in range(len(whole))}
        if missing := [row.name for row in own if row.name not in place_of]:
            raise ValueError(f"{str(root)!r} has no image {shown(missing[0])} of {table}")
        images = subset(whole, np.array([place_of[row.name] for row in own]), "")
        images.source, images.classes, images.labels = source, classes, labels
    else:
        names = (row.name for row in own)
        images = files_below(root, names, source, classes, labels, reading)
    images.digests = packed(row.digest for row in own)
    return images


def table_parts(
    table: Path, *, reading: str = "", root: Path | None = None
) -> Mapping[str, LabelledImages]:
    """The images of each part of a table."""
    there = {row.part for row in _read_list(table)[1]}
    parts = [part for part in PARTS if part in there]
    return {part: open_table(table, part, reading=reading, root=root) for part in parts}


def root_of(path: Path) -> Path:
    """The folder of the images of a table; another path as it is."""
    return _read_list(path)[0] if is_table(path) else path


def is_table(path: Path) -> bool:
    """Whether a path is that of a table, by its ending in any case."""
    return path.suffix.lower() == ".csv" and path.is_file()


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
        root = unquote(first[len(ROOT) :].rstrip("\r\n,"), errors="surrogateescape")
        return table.parent / root, images
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{table} is not a table of images: {first_line(error)}") from error


def split_list(text: str) -> tuple[str, str]:
    """The line of a table that names the folder of its images, or nothing, and the rest."""
    end = text.find("\n") + 1 if text.startswith(ROOT) else 0
    return text[:end], text[end:]


def _row(row: Mapping[str, str]) -> ListedImage:
    name, label, part = row["image"], composed(row["class"]), row["part"]
    if part not in PARTS:
        raise ValueError(f"{shown(name)} has part {shown(part)}; use {', '.join(PARTS)}")
    if not label:
        raise ValueError(f"{shown(name)} has no class; name it, or leave the row out")
    return ListedImage(name, label, part, row.get("sha256", "").lower())

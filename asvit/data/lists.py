"""Images that a table lists: one row each, with its file, its class and what it is for."""

import csv
from pathlib import Path

import numpy as np
from PIL import Image

from asvit.core.files import check_plain
from asvit.data.base import LabelledImages
from asvit.data.files import read_image
from proxies.messages import first_line
from proxies.tables import csv_text, read_cells

TRAIN, VALIDATION, TEST = "train", "validation", "test"
_COLUMNS = ["image", "class", "part"]


class ListedDataset(LabelledImages):
    """The images of one part of a CSV table with the columns ``image``, ``class`` and ``part``.

    A part is ``"train"``, ``"validation"`` or ``"test"``. Files are relative to the folder of the
    table. All parts have all classes, in their order.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no such table, or has no image for this part.
    """

    def __init__(self, table: Path, part: str = TRAIN) -> None:
        rows = _rows(table)
        chosen = [(name, label) for name, label, of in rows if of == part]
        if not chosen:
            raise ValueError(f"{table} has no images for part {part!r}")
        classes = sorted({label for _, label, _ in rows})
        places = {label: place for place, label in enumerate(classes)}
        self._files = [table.parent / name for name, _ in chosen]
        super().__init__(
            f"{table.resolve()}, {len(chosen)} images, {len(classes)} classes, part {part}",
            tuple(classes),
            np.array([places[label] for _, label in chosen], dtype=np.int64),
        )

    def picture(self, index: int) -> Image.Image:
        """Read image ``index``; a ValueError names what cannot be read."""
        return read_image(self._files[index])

    def name(self, index: int) -> str:
        """Its file, as the table names it."""
        return str(self._files[index])


def has_part(table: Path, part: str) -> bool:
    """Whether a table has images for a part."""
    return any(of == part for _, _, of in _rows(table))


def _rows(table: Path) -> list[tuple[str, str, str]]:
    """File, class and part of each image of a table."""
    check_plain(table)
    try:
        with table.open(newline="", encoding="utf-8") as file:
            header, *rows = map(read_cells, csv.reader(file))
        if header != _COLUMNS:
            raise ValueError(f"its columns are not {', '.join(_COLUMNS)}")
        return [(name, label, of) for name, label, of in rows]
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{table} is no table of images: {first_line(error)}") from error


def list_text(rows: list[tuple[str, str, str]]) -> str:
    """The text of a table: file, class and part of each image."""
    return csv_text([_COLUMNS, *rows])

"""Images in files: those of a folder, with or without class folders, and those of a table."""

import csv
import os
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from asvit.core.files import check_plain
from asvit.data.base import UNREADABLE, LabelledImages, Transform
from proxies.messages import first_line, one_line
from proxies.tables import csv_text, read_cells

#: Formats that are decoded, whatever the name of a file: Pillow would pass others to external
#: programs, such as PostScript to Ghostscript.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")

_MAX_DEPTH = 100  # of nested folders

TRAIN, VALIDATION, TEST = "train", "validation", "test"
_COLUMNS = ["image", "class", "part"]


class FolderDataset(LabelledImages):
    """Images of a folder: ``root/CLASS/**/image.jpg``, or ``root/image.jpg`` with one class.

    Names are sorted, so that indices are the same on every machine. Names that begin with a dot
    are ignored.

    Raises:
        FileNotFoundError: If the folder is missing.
        ValueError: If it is a file, has no images, has images both beside and inside sub-folders,
            has a class without images, looks like a folder of splits, or contains a link to a
            folder above.
    """

    def __init__(self, root: Path, *, transform: Transform | None = None) -> None:
        if not root.exists():
            raise FileNotFoundError(f"no folder {str(root)!r}; give a folder of images")
        if not root.is_dir():
            raise ValueError(f"{str(root)!r} is a file; give a folder of images")
        flat, inner = list_folder(root)
        if {"train", "val"} <= set(inner) and list_folder(root / "train")[1]:
            raise ValueError(
                f"{str(root)!r} holds splits, not classes; give {str(root / 'train')!r}"
            )
        if flat and inner:
            raise ValueError(
                f"{str(root)!r} holds both images ({one_line(flat[0])}) and folders"
                f" ({one_line(inner[0])});"
                " use class folders only, or images only"
            )
        groups = (
            {name: _walk(root / name) for name in inner} if inner else {root.resolve().name: flat}
        )
        empty = [name for name, files in groups.items() if not files]
        if empty:
            where = root / empty[0] if inner else root
            raise ValueError(f"no images in {str(where)!r}; use {', '.join(EXTENSIONS)} files")
        self.root = root
        # As texts: a million paths would take several times the memory.
        self._files = tuple(
            f"{name}/{file}" if inner else file for name, files in groups.items() for file in files
        )
        super().__init__(
            f"folder {root.resolve().name}, {len(self._files)} images, {len(groups)} classes",
            tuple(groups),
            np.repeat(np.arange(len(groups)), [len(files) for files in groups.values()]),
            transform=transform,
        )

    def picture(self, index: int) -> Image.Image:
        """Read image ``index``; a ValueError names a file that cannot be read."""
        return read_image(self.root / self._files[index])

    def name(self, index: int) -> str:
        """Return the path of image ``index`` relative to the folder, as ``CLASS/image.jpg``."""
        return self._files[index]

    @property
    def paths(self) -> tuple[Path, ...]:
        """Paths of all images."""
        return tuple(self.root / file for file in self._files)


def list_folder(folder: Path) -> tuple[list[str], list[str]]:
    """Sorted names of the images and of the folders in ``folder``."""
    with os.scandir(folder) as found:
        entries = sorted((e for e in found if not e.name.startswith(".")), key=lambda e: e.name)
    folders = [e.name for e in entries if e.is_dir()]
    # A broken link counts as an image, so that reading it reports the error.
    images = [e.name for e in entries if e.name.lower().endswith(EXTENSIONS) and not e.is_dir()]
    return images, folders


def find_images(folder: Path) -> list[Path]:
    """All images in a folder and in those inside it, sorted by folder; a ValueError if none."""
    found = [folder / name for name in _walk(folder)]
    if not found:
        raise ValueError(f"no images in {str(folder)!r}; use {', '.join(EXTENSIONS)} files")
    return found


def _walk(folder: Path, above: tuple[tuple[int, int], ...] = ()) -> list[str]:
    """All images under ``folder``, relative to it: its own first, then folder by folder.

    Links are followed; ``above`` has the device and inode numbers of the folders above.
    """
    about = folder.stat()
    here = (about.st_dev, about.st_ino)
    if here in above:
        raise ValueError(f"{str(folder)!r} leads back to a folder above it; remove the link")
    if len(above) >= _MAX_DEPTH:
        raise ValueError(f"{str(folder)!r} is more than {_MAX_DEPTH} folders deep; move it up")
    images, folders = list_folder(folder)
    inner = (*above, here)
    return images + [
        f"{name}/{image}" for name in folders for image in _walk(folder / name, inner)
    ]


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


def read_image(path: Path) -> Image.Image:
    """Read an image file as RGB, the right way up; a ValueError names one that cannot be read."""
    try:
        if path.exists() and not path.is_file():  # opening a pipe would wait for its writer
            raise ValueError("it is no file")
        # Not by its name: Pillow 13 maps some TIFF files into memory, and then turns them wrongly.
        with path.open("rb") as file, Image.open(file, formats=FORMATS) as image:
            return to_rgb(image)
    except UNREADABLE as error:
        raise ValueError(f"cannot read image {str(path)!r}: {first_line(error)}") from error


def to_rgb(image: Image.Image) -> Image.Image:
    """Turn an image as its EXIF orientation says, and convert any kind of it to 8-bit RGB.

    An image whose EXIF data cannot be read stays as it is stored. Transparent pixels are blended
    with black. 16-bit grey keeps its upper byte.
    """
    image.load()  # what is damaged in the pixels must not be taken for damaged EXIF data
    with suppress(*UNREADABLE):
        ImageOps.exif_transpose(image, in_place=True)
    if image.mode[0] in "IF":  # Pillow's own conversion would clip these at 255
        deep = np.asarray(image)
        if image.mode == "F" or deep.min() < 0 or deep.max() >= 1 << 16:
            raise ValueError("its pixels are not 8 or 16-bit integers")
        image = Image.fromarray((deep >> 8).astype(np.uint8))
    if image.mode in {"LA", "La", "PA", "RGBA", "RGBa"} or "transparency" in image.info:
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, (0, 0, 0, 255))
        image = Image.alpha_composite(ground, image)
    return image.convert("RGB")


def square(image: Image.Image, size: int) -> Image.Image:
    """Resize the shorter side to ``size`` (bicubic, antialiased) and crop the centre."""
    return ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)

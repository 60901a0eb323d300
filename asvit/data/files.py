"""Images in files: those of a folder, with or without class folders, and those of a table."""

import csv
import io
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, MutableMapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import IO, NamedTuple, cast
from urllib.parse import quote, unquote

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from asvit.core.files import IMAGE_ENDINGS, write_bytes
from asvit.core.threads import in_order
from asvit.data.arrays import stored_array
from asvit.data.base import UNREADABLE, LabelledImages, Progress, Transform, naming
from asvit.data.copies import file_digest
from asvit.data.kinds import GREY, PICTURES, RGB, ImageKind, Picture, the_same
from asvit.data.texts import Texts, composed
from proxies.messages import first_line
from proxies.tables import csv_text, read_cells
from proxies.text import one_line, shown

#: Formats that are decoded, whatever the name of a file: Pillow would pass others to external
#: programs, such as PostScript to Ghostscript.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP", "AVIF")

#: Pixels of the largest image that is read: 120 million, which take up to 2 GB. A small file may
#: hold any number of equal ones; photographs have up to 108 million.
MOST_PIXELS = 120_000_000

#: Kinds of images that are converted as they are read.
_CONVERTED = {
    RGB: ImageKind(reading=RGB),
    GREY: ImageKind(1, "uint8", picture=False, reading=GREY),
}

# Endings of files that are 8-bit pictures, so that their headers need not be read early. A file
# of another format with such a name is refused when it is read.
_ALWAYS_PICTURES = (".jpg", ".jpeg", ".jfif", ".gif", ".webp", ".avif", ".bmp")
# Endings of other pictures, which are not passed over in silence: reading them is an error.
_NEVER_READ = (".heic", ".heif", ".jxl", ".jp2", ".dng", ".cr2", ".cr3", ".nef", ".arw")
_LISTED = (*IMAGE_ENDINGS, *_NEVER_READ)
_PART = 256  # images whose headers a thread reads in a row

_TOO_LARGE = f"it has more than {MOST_PIXELS // 10**6} million pixels; use a smaller copy"

# MOST_PIXELS raises an error instead.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

_MAX_DEPTH = 100  # of nested folders
_VALIDATION_FOLDERS = ("val", "validation", "valid", "dev", "test")  # best first

_PARTS = TRAIN, VALIDATION, TEST = "train", "validation", "test"
_NEEDED = ["image", "class", "part"]
_COLUMNS = [*_NEEDED, "bytes", "sha256"]
_ROOT = "# images in "  # first line of a table whose images are in another folder

#: Place, size and times of a file, of which one differs if its content does -> its SHA-256.
Seen = MutableMapping[tuple[int, ...], str]


class ImageFiles(LabelledImages):
    """Labelled images, each in a file of its own below a folder.

    Args:
        root: The folder.
        names: Paths of the files relative to it, such as ``CLASS/image.jpg``.
        source: As the following ones, a field of :class:`asvit.data.LabelledImages`.
        classes: Name of each label.
        labels: Label of each image.
        transform: Applied to each picture by ``dataset[i]``.
        reading: One of :data:`asvit.data.kinds.READINGS`, or empty.
    """

    def __init__(
        self,
        root: Path,
        names: Iterable[str],
        *,
        source: str,
        classes: tuple[str, ...],
        labels: NDArray[np.int64],
        transform: Transform | None = None,
        reading: str = "",
    ) -> None:
        super().__init__(source, classes, labels, transform=transform)
        self.root, self.reading = root, reading
        self._names = Texts(names)

    @cached_property
    def kind(self) -> ImageKind:
        """The kind of its images, from their headers."""
        return kind_of_images(
            self._names, lambda name: _opened(self.root / name), self.reading, self.source
        )

    def picture(self, index: int) -> Picture:
        """Read image ``index``; a ValueError names a file that cannot be read."""
        return read_as(self.path(index), self.kind)

    def check(self, index: int) -> None:
        """Read the header of image ``index``."""
        check_as(self.path(index), self.kind)

    def name(self, index: int) -> str:
        """Return the path of image ``index`` relative to the folder."""
        return self._names[index]

    def path(self, index: int) -> Path:
        """The file of image ``index``."""
        return self.root / self._names[index]


class FolderDataset(ImageFiles):
    """Images of a folder: ``root/CLASS/**/image.jpg``, or ``root/image.jpg`` with one class.

    Names are sorted, so that indices are the same on every machine. Names that begin with a dot
    are ignored. ``reading`` is one of :data:`asvit.data.kinds.READINGS`, or empty.
    """

    def __init__(
        self, root: Path, *, reading: str = "", transform: Transform | None = None
    ) -> None:
        groups = _files_by_class(root)
        sizes = [len(files) for files in groups.values()]
        super().__init__(
            root,
            chain.from_iterable(groups.values()),
            reading=reading,
            source=f"folder {root.resolve().name}, {sum(sizes)} images, {len(groups)} classes",
            classes=tuple(map(composed, groups)),
            labels=np.repeat(np.arange(len(groups)), sizes),
            transform=transform,
        )


def _files_by_class(root: Path) -> dict[str, list[str]]:
    """The images of each class folder, relative to ``root``; or those of ``root`` as one class."""
    if not root.exists():
        raise FileNotFoundError(f"no folder {str(root)!r}; give a folder of images")
    if not root.is_dir():
        raise ValueError(f"{str(root)!r} is a file; give a folder of images")
    flat, inner = list_folder(root)
    if splits := split_folders(root, inner):
        raise ValueError(
            f"{str(root)!r} holds splits, not classes; give {str(root / splits[0])!r}"
        )
    if flat and inner:
        raise ValueError(
            f"{str(root)!r} holds both images ({one_line(flat[0])}) and folders"
            f" ({one_line(inner[0])}); use class folders only, or images only"
        )
    if inner:
        groups = {name: [f"{name}/{file}" for file in _walk(root / name)] for name in inner}
    else:
        groups = {root.resolve().name: flat}
    counts = Counter(map(composed, groups))
    if len(counts) < len(groups):
        raise ValueError(
            f"{str(root)!r} has two folders {counts.most_common(1)[0][0]!r}, whose names are "
            "equal but for the form of Unicode; move the images into one"
        )
    empty = [name for name, files in groups.items() if not files]
    if empty:
        where = root / empty[0] if inner else root
        raise ValueError(f"no images in {str(where)!r}; use {', '.join(IMAGE_ENDINGS)} files")
    return groups


def list_folder(folder: Path) -> tuple[list[str], list[str]]:
    """Sorted names of the images and of the folders in ``folder``."""
    with os.scandir(folder) as scan:
        visible = [e for e in scan if not e.name.startswith(".")]
    entries = sorted(visible, key=lambda e: (composed(e.name), e.name))
    folders = [e.name for e in entries if e.is_dir()]
    # A broken link counts as an image, so that reading it reports the error.
    images = [e.name for e in entries if e.name.lower().endswith(_LISTED) and not e.is_dir()]
    return images, folders


def split_folders(root: Path, inner: Iterable[str] | None = None) -> list[str]:
    """Names of the folder to train on and of those to validate on, the best first, in any case.

    None unless there are both, and the one to train on has class folders: else it is a class.
    ``inner`` are the folders in ``root``, which are listed if they are not given.
    """
    if inner is None:
        inner = list_folder(root)[1] if root.is_dir() else []
    names = {name.lower(): name for name in inner}  # of two that differ in case, the lower
    splits = [names[name] for name in (TRAIN, *_VALIDATION_FOLDERS) if name in names]
    both = TRAIN in names and len(splits) > 1
    return splits if both and list_folder(root / splits[0])[1] else []


def find_images(folder: Path) -> list[Path]:
    """All images in a folder and in those inside it, sorted by folder; a ValueError if none."""
    images = [folder / name for name in _walk(folder)]
    if not images:
        raise ValueError(f"no images in {str(folder)!r}; use {', '.join(IMAGE_ENDINGS)} files")
    return images


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


class ListedImage(NamedTuple):
    """A row of a table of images."""

    name: str  # file, relative to the folder of the images
    label: str
    part: str
    size: int  # bytes of the file; 0 if the table has none
    digest: str  # SHA-256 of its content, in hexadecimal; empty if the table has none


class ListedDataset(ImageFiles):
    """The images of one part of a CSV table, as :func:`list_text` writes it.

    The columns ``bytes`` and ``sha256`` may be missing.

    A part is ``"train"``, ``"validation"`` or ``"test"``. Files are relative to the folder of the
    table, or to the one that its first line names. All parts have all classes, in their order. A
    file must have the content whose SHA-256 the table has, if it has one.
    """

    def __init__(self, table: Path, part: str = TRAIN, *, reading: str = "") -> None:
        root, rows = _read_list(table)
        own = [row for row in rows if row.part == part]
        if not own:
            raise ValueError(f"{table} has no images for part {part!r}")
        classes = sorted({row.label for row in rows})
        places = {label: place for place, label in enumerate(classes)}
        where = f"{table.parent.resolve().name}/{table.name}"
        self._digests = Texts(row.digest for row in own)
        super().__init__(
            root,
            (row.name for row in own),
            reading=reading,
            source=f"{where}, {len(own)} images, {len(classes)} classes, part {part}",
            classes=tuple(classes),
            labels=np.array([places[row.label] for row in own], dtype=np.int64),
        )

    def picture(self, index: int) -> Picture:
        """Read image ``index``; a ValueError names what cannot be read, or has changed."""
        picture, path = super().picture(index), self.path(index)
        if (digest := self.digest(index)) and file_digest(path) != digest:
            raise ValueError(f"image {str(path)!r} has changed since it was listed")
        return picture

    def identity(self, index: int) -> str:
        """Its file, and its SHA-256."""
        return f"{self.name(index)} {self.digest(index)}"

    def digest(self, index: int) -> str:
        """SHA-256 of its content, as the table has it; empty if it has none."""
        return self._digests[index]


def has_part(table: Path, part: str) -> bool:
    """Whether a table has images for a part."""
    return any(row.part == part for row in _read_list(table)[1])


def changed_images(
    table: Path, part: str, seen: Seen, *, root: Path | None = None
) -> dict[str, str]:
    """Images of a part that differ from their row in the table: their names, and why.

    Files in ``seen`` are not read again. ``root`` replaces the folder of the images.
    """
    folder, rows = _read_list(table)
    changes = {
        row.name: _change((root or folder) / row.name, row, seen)
        for row in rows
        if row.part == part
    }
    return {name: why for name, why in changes.items() if why}


def _change(path: Path, row: ListedImage, seen: Seen) -> str:
    """How a file differs from its row; empty if it does not."""
    try:
        size, digest = size_and_digest(path, seen)
        if row.size not in (0, size) or row.digest not in ("", digest):
            return "its content has changed"
    except FileNotFoundError:
        return "it is missing"
    except OSError as error:
        return f"it cannot be read: {error.strerror or type(error).__name__}"
    return ""


def size_and_digest(path: Path, seen: Seen) -> tuple[int, str]:
    """Bytes and SHA-256 of a file, which is not read again while it stays as it is."""
    about = path.stat()
    state = (about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns)
    if state not in seen:
        seen[state] = file_digest(path)
    return about.st_size, seen[state]


def _read_list(table: Path) -> tuple[Path, list[ListedImage]]:
    """The folder of the images of a table, and its rows."""
    try:
        # Of a user, who may keep it behind a link, unlike a file of a run.
        content = table.read_bytes().decode("utf-8").removeprefix("\ufeff")  # as Excel begins
        first, text = split_list(content)
        rows = csv.reader(io.StringIO(text, newline=""))
        header = read_cells(next(rows, []))
        if header != [name for name in _COLUMNS if name in {*_NEEDED, *header}]:
            raise ValueError(
                f"its columns are {shown(header)}; use {', '.join(_NEEDED)}, and optionally bytes "
                "and sha256"
            )
        images = []
        for cells in map(read_cells, filter(None, rows)):  # without blank lines
            if len(cells) != len(header):
                raise ValueError(f"{len(cells)} cells under a header of {len(header)}")
            row = dict(zip(header, cells, strict=True))
            name, label, part = row["image"], composed(row["class"]), row["part"]
            if part not in _PARTS:
                raise ValueError(f"{shown(name)} has part {shown(part)}; use {', '.join(_PARTS)}")
            if not label:
                raise ValueError(f"{shown(name)} has no class; name it, or leave the row out")
            size, digest = int(row.get("bytes") or 0), row.get("sha256", "").lower()
            images.append(ListedImage(name, label, part, size, digest))
        # A spreadsheet may have filled the line up with empty cells; a folder's commas are quoted.
        root = unquote(first[len(_ROOT) :].rstrip("\r\n,"), errors="surrogateescape")
        return table.parent / root, images
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{table} is not a table of images: {first_line(error)}") from error


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


def read_image(path: Path) -> Image.Image:
    """Read any image file as 8-bit RGB, the right way up; a ValueError names what is unreadable.

    16-bit grey keeps its upper byte; :func:`read_as` cuts nothing.
    """
    with naming(f"image {str(path)!r}"), _opened(path) as file, open_image(file) as image:
        return to_rgb(image)


def read_as(path: Path, kind: ImageKind) -> Picture:
    """Read an image file, the right way up; a ValueError names one that is not of this kind."""
    with naming(f"image {str(path)!r}"), _opened(path) as file:
        return read_open(file, kind)


def check_as(path: Path, kind: ImageKind) -> None:
    """Read the header of an image file; a ValueError names one that is not of this kind."""
    with naming(f"image {str(path)!r}"), _opened(path) as file:
        check_open(file, kind)


def check_open(file: IO[bytes], kind: ImageKind) -> None:
    """Read the header of the image in an open file, which has to be of this kind."""
    _check_kind(kind_in(file, kind.reading), kind)
    if kind.picture or kind.reading == GREY:
        with open_image(file):
            pass


def kind_of_images(
    names: Sequence[str],
    opened: Callable[[str], AbstractContextManager[IO[bytes]]],
    reading: str,
    source: str,
) -> ImageKind:
    """The kind of the images of these names, from their headers.

    Those that cannot be read are left out.

    Raises:
        ValueError: If there are several kinds.
    """
    if reading in (RGB, GREY):
        return _CONVERTED[reading]

    def kinds(part: Sequence[str]) -> list[tuple[str, ImageKind]]:
        """Each kind in a part with the first image of it."""
        first = dict[ImageKind, str]()
        for name in part:
            with suppress(*UNREADABLE), opened(name) as file:
                first.setdefault(kind_in(file, reading), name)
        return [(name, kind) for kind, name in first.items()]

    open_ones = [name for name in names if not name.lower().endswith(_ALWAYS_PICTURES)]
    parts = [open_ones[at : at + _PART] for at in range(0, len(open_ones), _PART)]
    certain = next((n for n in names if n.lower().endswith(_ALWAYS_PICTURES)), None)
    first = [] if certain is None else [(certain, PICTURES)]
    return the_same(chain(first, *in_order(kinds, parts)), source)


def kind_in(file: IO[bytes], reading: str = "") -> ImageKind:
    """The kind of the image in an open file, from its header."""
    if reading in (RGB, GREY):
        return _CONVERTED[reading]
    with stored_array(file, reading) as stored:
        if stored is None:
            return PICTURES
        return ImageKind(stored.channels, stored.dtype, picture=False, reading=reading)


def read_open(file: IO[bytes], kind: ImageKind) -> Picture:
    """The image in an open file, which has to be of this kind."""
    if kind.picture or kind.reading == GREY:
        if not kind.reading:
            _check_kind(kind_in(file), kind)
            file.seek(0)
        with open_image(file) as image:
            return as_kind(image, kind)
    with stored_array(file, kind.reading) as stored:
        if stored is None:
            with open_image(file):  # which says what is wrong with a file of no image
                raise ValueError(_other_kind(PICTURES, kind))
        own = ImageKind(stored.channels, stored.dtype, picture=False, reading=kind.reading)
        _check_kind(own, kind)
        return stored.array()


def as_kind(image: Image.Image, kind: ImageKind) -> Picture:
    """An opened picture as RGB, or as grey where the kind is that."""
    if kind.reading != RGB and image.mode[0] in "IF":
        raise ValueError(f"its pixels have more than 8 bits, {kind} has 8")
    if kind.reading != GREY:
        return to_rgb(image)
    return np.asarray(to_rgb(image).convert("L"))[..., None]


def _check_kind(own: ImageKind, wanted: ImageKind) -> None:
    if own != wanted:
        raise ValueError(_other_kind(own, wanted))


def _other_kind(own: ImageKind, wanted: ImageKind) -> str:
    return f"it is {own}, not {wanted}"


def write_pictures(
    images: LabelledImages,
    places: Sequence[int],
    folder: Path,
    progress: Progress = lambda _done, _total: None,
) -> None:
    """Write the pictures at ``places`` to class folders as PNG; files that are there stay."""
    for done, place in enumerate(places, 1):
        path = folder / images.classes[images.labels[place]] / f"{place:05d}.png"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            content = io.BytesIO()
            cast("Image.Image", images.picture(place)).save(content, "PNG")
            write_bytes(path, content.getbuffer(), cached=True)
        progress(done, len(places))


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    if path.exists() and not path.is_file():  # opening a pipe would wait for its writer
        raise ValueError("it is not a file")
    # Pillow is not given its name: Pillow 13 maps some TIFF files into memory, and then turns them
    # wrongly.
    with path.open("rb") as file:
        yield file


@contextmanager
def open_image(file: IO[bytes]) -> Iterator[Image.Image]:
    """An image of which the header alone has been read."""
    try:
        image = Image.open(file, formats=FORMATS)
    except UnidentifiedImageError as error:
        raise ValueError(
            f"it is not a {', '.join(FORMATS[:-1])} or {FORMATS[-1]} image"
        ) from error
    except Image.DecompressionBombError as error:  # twice the pixels that Pillow allows
        raise ValueError(_TOO_LARGE) from error
    with image:
        if image.width * image.height > MOST_PIXELS:
            raise ValueError(_TOO_LARGE)
        yield image


def to_rgb(image: Image.Image) -> Image.Image:
    """Turn an image as its EXIF orientation says, and convert any kind of it to 8-bit RGB.

    An image whose EXIF data cannot be read stays as it is stored. Transparent pixels are blended
    with black. 16-bit grey keeps its upper byte.
    """
    image.load()  # so that damaged pixels are not mistaken for damaged EXIF data
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
    return image if image.mode == "RGB" else image.convert("RGB")  # which would copy it

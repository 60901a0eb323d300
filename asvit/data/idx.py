"""IDX files: the images and labels of MNIST and its whole family, gzipped or not."""

import gzip
import hashlib
import re
import zlib
from collections.abc import Mapping
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from asvit.data.base import ImagesOfOthers, LabelledImages, check_classes_known, numbered_as
from asvit.data.kinds import GREY_PICTURES, PICTURES, RGB, ImageKind, Picture
from asvit.data.layouts import TEST, TRAIN, VALIDATION
from proxies.messages import first_line
from proxies.text import listed

_NAME: Final = re.compile(
    r"(?P<which>.+)(?P<dash>[-._])images(?P<dot>[-._])idx3-ubyte(?P<end>(\.gz)?)", re.IGNORECASE
)
_WORDS: Final = {"t10k": TEST, "test": TEST, "valid": VALIDATION, "train": TRAIN}
_BYTES: Final = 8  # the code of unsigned bytes, the third byte of a file
_DEFLATED: Final = 1032  # bytes that one of a gzipped file stands for at most


class _Part(NamedTuple):
    """The content of a pair of files."""

    pixels: NDArray[np.uint8]  # [n, H, W]
    labels: NDArray[np.int64]  # as the file has them, [n]


class IdxImages(LabelledImages):
    """The images of a pair of IDX files, in memory: 8-bit grey, or the same as RGB pictures.

    Args:
        file: That of the images; that of the labels is beside it.
        reading: One of :data:`asvit.data.kinds.READINGS`, or empty for grey.
    """

    def __init__(self, file: Path, *, reading: str = "") -> None:
        self._kind = PICTURES if reading == RGB else GREY_PICTURES
        self.stem = (match := _matched(file))["which"]
        labels = file.with_name(
            f"{match['which']}{match['dash']}labels{match['dot']}idx1-ubyte{match['end']}"
        )
        if not labels.is_file():
            raise ValueError(f"{file.name} has no labels beside it; put {labels.name} there")
        self._pixels, numbers = _read_part(file, labels, file.stat().st_mtime_ns)
        present, own = np.unique(numbers, return_inverse=True)
        height, width = self._pixels.shape[1:]
        source = f"{file.name}, {len(numbers):,} images of {width} × {height} pixels"
        super().__init__(source, tuple(map(str, present.tolist())), own.astype(np.int64))

    @property
    def kind(self) -> ImageKind:
        """8-bit grey, or RGB."""
        return self._kind

    def picture(self, index: int) -> Picture:
        """Image ``index``."""
        grey = self._pixels[index]
        return Image.fromarray(grey).convert("RGB") if self._kind.picture else grey[..., None]

    def name(self, index: int) -> str:
        """The part and the number of the image in it, as ``train/00041``."""
        return f"{self.stem}/{index:05d}"

    def identity(self, index: int) -> str:
        """Its name, and the digest of its pixels."""
        return f"{self.name(index)} {self.digest(index)}"

    def digest(self, index: int) -> str:
        """SHA-256 of its pixels, in hexadecimal."""
        return hashlib.sha256(self._pixels[index].data).hexdigest()


def idx_parts(folder: Path) -> Mapping[str, Path]:
    """The file of the images of each part of a folder of IDX files; none of another path.

    Raises:
        ValueError: If it is not said what a file is for, or several are for the same.
    """
    parts = dict[str, Path]()
    there = folder.iterdir() if folder.is_dir() else ()
    files = sorted(path for path in there if _NAME.fullmatch(path.name))
    for path in files:
        which = _matched(path)["which"].lower()
        part = next((part for word, part in _WORDS.items() if word in which), None)
        if part is None:
            raise ValueError(
                f"{str(path)!r} does not say which part it is; use train-images-idx3-ubyte or so"
            )
        if part in parts:
            names = listed([parts[part].name, path.name])
            raise ValueError(
                f"{str(folder)!r} has several sets of images ({names}); keep one in a folder"
            )
        parts[part] = path
    if parts and TRAIN not in parts:
        raise ValueError(f"{str(folder)!r} has no images to train on, as train-images-idx3-ubyte")
    return {part: parts[part] for part in (TRAIN, VALIDATION, TEST) if part in parts}


def _matched(file: Path) -> re.Match[str]:
    """The parts of the name of a file of images."""
    match = _NAME.fullmatch(file.name)
    if match is None:
        raise ValueError(f"{file.name} is no name of IDX images, as train-images-idx3-ubyte.gz")
    return match


@lru_cache(maxsize=4)
def _read_part(images: Path, labels: Path, _changed: int) -> _Part:
    """The content of two files, which is kept: a run opens a set several times."""
    pixels, numbers = _read(images, 3), _read(labels, 1)
    if len(pixels) != len(numbers):
        raise ValueError(
            f"{images.name} has {len(pixels):,} images, but {labels.name} {len(numbers):,} labels"
        )
    return _Part(pixels, numbers.astype(np.int64))


def _read(file: Path, axes: int) -> NDArray[Any]:
    """The bytes of a file, of so many axes."""
    opened: Any = gzip.open if file.suffix.lower() == ".gz" else open
    try:
        with opened(file, "rb") as content:
            header = content.read(4 + 4 * axes)
            if len(header) < 4 + 4 * axes or header[:4] != bytes([0, 0, _BYTES, axes]):
                raise ValueError(f"it does not begin as IDX files of bytes with {axes} axes do")
            shape = [int(size) for size in np.frombuffer(header, ">u4", offset=4)]
            if prod(shape) > _DEFLATED * file.stat().st_size:
                raise ValueError(f"it is too short for {' × '.join(map(str, shape))} bytes")
            values = content.read(prod(shape) + 1)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise ValueError(f"cannot read {str(file)!r}: {first_line(error)}") from error
    if len(values) != prod(shape) or not values:
        raise ValueError(
            f"cannot read {str(file)!r}: it should have {prod(shape):,} bytes after its header"
        )
    return np.frombuffer(values, np.uint8).reshape(shape)


class IdxParts(ImagesOfOthers):
    """The images of all parts of a folder of IDX files, of the classes of those to train on.

    ``parts`` has the part of each image; None if there is but one.
    """

    parts: NDArray[np.object_] | None = None

    def __init__(self, folder: Path, *, reading: str = "") -> None:
        files = idx_parts(folder)
        self.root, self._sets = (
            folder,
            [IdxImages(file, reading=reading) for file in files.values()],
        )
        first, *others = self._sets
        for other in others:
            check_classes_known(first, other)
            numbered_as(other, first.classes)
        sizes = [len(images) for images in self._sets]
        if others:
            self.parts = np.repeat(np.array([*files], dtype=object), sizes)
        self._begins = np.cumsum([0, *sizes])
        labels = np.concatenate([images.labels for images in self._sets])
        source = f"folder {folder.resolve().name} of IDX files, {len(labels):,} images"
        super().__init__(source, first.classes, labels)

    @property
    def kind(self) -> ImageKind:
        """That of its parts."""
        return self._sets[0].kind

    def place(self, name: str) -> int:
        """The index of the image of a name; -1 if there is none."""
        stem, _, number = name.rpartition("/")
        for begin, images in zip(self._begins.tolist(), self._sets, strict=False):
            if number.isdecimal() and int(number) < len(images) and images.stem == stem:
                return int(begin) + int(number)
        return -1

    def _at(self, index: int) -> tuple[LabelledImages, int]:
        which = int(np.searchsorted(self._begins, index, side="right")) - 1
        return self._sets[which], index - int(self._begins[which])

"""8-bit grey images in memory: IDX files, as of MNIST and its whole family, and digits."""

import gzip
import hashlib
import re
import zlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from asvit.data.base import PARTS, TEST, TRAIN, VALIDATION, LabelledImages
from asvit.data.kinds import GREY_PICTURES, ImageKind, Picture
from proxies.messages import first_line
from proxies.text import listed

_NAME: Final = re.compile(r"(.+)([-._])images([-._])idx3-ubyte((?:\.gz)?)", re.IGNORECASE)
_WORDS: Final = {"t10k": TEST, "test": TEST, "valid": VALIDATION, "train": TRAIN}
_BYTES: Final = 8  # the code of unsigned bytes, the third byte of a file


class GreyImages(LabelledImages):
    """8-bit grey images in memory, ``[n, H, W]``, as arrays of one channel or as RGB pictures.

    ``numbers`` are those of their classes; names are made of ``stem``, as ``train/00041``.
    """

    def __init__(
        self,
        pixels: NDArray[np.uint8],
        numbers: NDArray[Any],
        stem: str,
        source: str,
        kind: ImageKind,
        file: Path | None = None,
    ) -> None:
        present, own = np.unique(numbers, return_inverse=True)
        super().__init__(source, tuple(map(str, present.tolist())), own.astype(np.int64))
        self._pixels, self._stem, self._kind, self._file = pixels, stem, kind, file

    @property
    def kind(self) -> ImageKind:
        return self._kind

    def picture(self, index: int) -> Picture:
        grey = self._pixels[index]
        return Image.fromarray(grey).convert("RGB") if self._kind.picture else grey[..., None]

    def name(self, index: int) -> str:
        return f"{self._stem}/{index:05d}"

    def digest(self, index: int) -> str:
        return hashlib.sha256(self._pixels[index].data).hexdigest()

    @property
    def files(self) -> Sequence[Path]:
        return () if self._file is None else (self._file,)


def open_digits(kind: ImageKind) -> LabelledImages:
    """scikit-learn's 1,797 hand-written digits of 8 × 8 pixels, part of that library."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    grey = (digits.images * (255 / 16)).astype(np.uint8)
    source = f"scikit-learn digits, {len(grey)} images"
    return GreyImages(grey, digits.target, "digits", source, kind)


def idx_parts(folder: Path, kind: ImageKind = GREY_PICTURES) -> Mapping[str, GreyImages]:
    """The images of each part of a folder of IDX files; none of another path."""
    there = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else ()
    parts = dict[str, re.Match[str]]()
    for match in filter(None, map(_NAME.fullmatch, there)):
        part = next((part for word, part in _WORDS.items() if word in match[1].lower()), None)
        if part is None:
            name = str(folder / match[0])
            raise ValueError(f"{name!r} does not say its part, as train-images-idx3-ubyte")
        if part in parts:
            both = listed([parts[part][0], match[0]])
            raise ValueError(f"{str(folder)!r} has several sets ({both}); keep one in a folder")
        parts[part] = match
    if parts and TRAIN not in parts:
        raise ValueError(f"{str(folder)!r} has no images to train on, as train-images-idx3-ubyte")
    return {part: _open_part(folder, parts[part], kind) for part in PARTS if part in parts}


def _open_part(folder: Path, match: re.Match[str], kind: ImageKind) -> GreyImages:
    """The images of a file, and the labels of that beside it."""
    images = folder / match[0]
    stem, dash, dot, end = match.groups()
    labels = folder / f"{stem}{dash}labels{dot}idx1-ubyte{end}"
    if not labels.is_file():
        raise ValueError(f"{images.name} has no labels beside it; put {labels.name} there")
    pixels, numbers = (
        _read(file, axes, (file.stat().st_size, file.stat().st_mtime_ns))
        for file, axes in ((images, 3), (labels, 1))
    )
    if len(pixels) != len(numbers):
        raise ValueError(
            f"{images.name} has {len(pixels):,} images, but {labels.name} {len(numbers):,} labels"
        )
    height, width = pixels.shape[1:]
    source = f"{images.name}, {len(numbers):,} images of {width} × {height} pixels"
    return GreyImages(pixels, numbers, stem, source, kind, images)


@lru_cache(maxsize=8)  # a run opens a set several times
def _read(file: Path, axes: int, _state: object) -> NDArray[Any]:
    """The bytes of a file in a state, of so many axes."""
    begin = 4 + 4 * axes
    try:
        content = file.read_bytes()
        if file.suffix.lower() == ".gz":
            content = gzip.decompress(content)
        if len(content) < begin or content[:4] != bytes([0, 0, _BYTES, axes]):
            raise ValueError(f"it does not begin as IDX files of bytes with {axes} axes do")
        shape = np.frombuffer(content[:begin], ">u4", offset=4).tolist()
        if len(content) - begin != prod(shape) or not prod(shape):
            raise ValueError(f"it should have {prod(shape):,} bytes after its header")
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise ValueError(f"cannot read {str(file)!r}: {first_line(error)}") from error
    return np.frombuffer(content, np.uint8, offset=begin).reshape(shape)

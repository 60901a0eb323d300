"""8-bit grey images in memory: IDX files, as of MNIST and its whole family, and digits."""

import gzip
import hashlib
import re
import zlib
from collections.abc import Mapping
from functools import lru_cache, partial
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from asvit.data.base import PARTS, TEST, TRAIN, VALIDATION, LabelledImages, packed
from asvit.data.kinds import GREY
from proxies.messages import first_line
from proxies.text import listed

Bytes = NDArray[np.uint8]

_NAME: Final = re.compile(r"(.+)([-._])images([-._])idx3-ubyte((?:\.gz)?)", re.IGNORECASE)
_WORDS: Final = {"t10k": TEST, "test": TEST, "valid": VALIDATION, "train": TRAIN}
_BYTES: Final = 8  # the code of unsigned bytes, the third byte of a file


def grey_images(
    pixels: Bytes, numbers: NDArray[Any], stem: str, source: str, **options: Any
) -> LabelledImages:
    """Images ``[n, H, W]`` of the classes ``numbers``, with names such as ``stem/00041``."""
    present, labels = np.unique(numbers, return_inverse=True)
    names = packed(f"{stem}/{index:05d}" for index in range(len(pixels)))
    digests = packed(hashlib.sha256(image.data).hexdigest() for image in pixels)
    classes, read = tuple(map(str, present.tolist())), partial(_row, pixels)
    return LabelledImages(
        source, classes, labels.astype(np.int64), read, names, digests, **options
    )


def _row(pixels: Bytes, index: int) -> Bytes:
    row: Bytes = pixels[index]
    return row


def open_digits(reading: str) -> Mapping[str, LabelledImages]:
    """scikit-learn's 1,797 hand-written digits of 8 × 8 pixels, part of that library."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    grey = (digits.images * (255 / 16)).astype(np.uint8)
    source = f"scikit-learn digits, {len(grey)} images"
    return {TRAIN: grey_images(grey, digits.target, "digits", source, reading=reading)}


def idx_parts(folder: Path, reading: str = "") -> Mapping[str, LabelledImages]:
    """The images of each part of a folder of IDX files, grey by default; none of another path."""
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
    return {part: _open_part(folder, parts[part], reading) for part in PARTS if part in parts}


def _open_part(folder: Path, match: re.Match[str], reading: str) -> LabelledImages:
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
    options: dict[str, Any] = {"reading": reading or GREY, "kept_in": (images,)}
    return grey_images(pixels, numbers, stem, source, **options)


@lru_cache(maxsize=8)  # a run opens a set several times
def _read(file: Path, axes: int, _state: object) -> Bytes:
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

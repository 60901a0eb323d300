"""Images in the cache folder and in memory: arrays in files, and sets decoded into one tensor."""

import hashlib
import io
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from asvit.core.files import expanded, write_bytes
from asvit.data.base import LabelledImages, Progress, read_all, sets_digest
from asvit.data.kinds import Array
from asvit.data.preparation import Preparation

MOST: Final = 2 * 2**30  #: bytes of a set in memory
_SLOW: Final = 1.0  # seconds of decoding that are worth a file
_KEPT: Final = 8 * 2**30  # bytes of all such files
_VERSION: Final = 1  # of what is in them


def cache_folder() -> Path:
    """The default cache folder: ``$ASVIT_CACHE``, else ``asvit`` in the user's folder for caches.

    That is ``$XDG_CACHE_HOME``, else ``~/.cache``. Nothing is created.
    """
    if folder := os.environ.get("ASVIT_CACHE"):
        return expanded(folder)
    return expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "asvit"


def write_array(path: Path, values: Array) -> bool:
    """Write an array as NPY, of which several processes may write the same; whether that works."""
    header = io.BytesIO()
    values = np.ascontiguousarray(values)
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(values))
    with suppress(OSError):  # it can be made again
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, header.getvalue(), values.data, cached=True)
        return True
    return False


def mapped_array(path: Path) -> Array | None:
    """The array in a file, mapped into memory copy-on-write; None where there is none."""
    with suppress(OSError, ValueError, EOFError):
        # PyTorch has no tensors that cannot be written to.
        stored: Array = np.load(path, mmap_mode="c")
        return stored
    return None


def fit_in_memory(images: LabelledImages, image_size: int) -> bool:
    """Whether a set is small enough at a side in pixels to be kept in memory."""
    kind = images.kind
    each = kind.channels * image_size**2 * (1 if kind.picture else 4)
    return len(images) * each <= MOST


def decode(
    images: LabelledImages, preparation: Preparation, progress: Progress | None = None
) -> Tensor:
    """Decode all images of a set, in several threads: ``[n, C, S, S]``, not normalised.

    They are uint8 where all are whole numbers to 255, else float32. What takes longer than a
    second is written to the cache folder, and mapped into memory from there by this and other
    processes. A ValueError names images that cannot be read.
    """
    path = cache_folder() / "pixels" / f"{_key(images, preparation)}.npy"
    if (stored := mapped_array(path)) is not None:
        with suppress(OSError):
            os.utime(path)  # so that the files that are used last stay
        return torch.from_numpy(stored)
    began = time.perf_counter()
    values = decoded(images, preparation, progress, range(len(images)))
    if time.perf_counter() - began > _SLOW and write_array(path, values.numpy()):
        _remove_oldest(path)
        stored = mapped_array(path)
    return values if stored is None else torch.from_numpy(stored)


def decoded(
    images: LabelledImages,
    preparation: Preparation,
    progress: Progress | None,
    places: Sequence[int],
) -> Tensor:
    """The images at some places of a set as :func:`decode` has them, without the cache."""
    kind, side, crop = preparation.kind, preparation.image_size, preparation.crop
    dtype = torch.uint8 if kind.picture else torch.float32
    values = torch.zeros(len(places), kind.channels, side, side, dtype=dtype)
    read = read_all(images, lambda at: crop(images.picture(at)), places, progress)
    for number, (_, pixels) in enumerate(read):
        values[number] = pixels
    parts = values.split(1024) if dtype != torch.uint8 else ()
    if parts and all(bool((part == part.clamp(0, 255).round()).all()) for part in parts):
        values = values.to(torch.uint8)
    return values


def _key(images: LabelledImages, preparation: Preparation) -> str:
    """A digest of the set, of the state of its files, and of how it is prepared."""
    digest = hashlib.sha256(sets_digest(images).encode())
    # Of sets in memory, names and labels may be those of others.
    what = _VERSION, images.source, images.ground, preparation.geometry
    digest.update(repr(what).encode())
    for path in images.files:
        with suppress(OSError):
            about = path.stat()
            digest.update(repr((str(path), about.st_size, about.st_mtime_ns)).encode())
    return digest.hexdigest()


def _remove_oldest(newest: Path) -> None:
    """Remove the files that were used longest ago, beyond what is kept."""
    total = 0
    with suppress(OSError):  # another process removes them, too
        files = [(file, file.stat()) for file in newest.parent.iterdir()]
        for stored, about in sorted(files, key=lambda entry: -entry[1].st_mtime):
            total += about.st_size
            if total > _KEPT and stored != newest:
                stored.unlink(missing_ok=True)

"""Sets of images in memory, as one tensor: decoded once, and cached where that takes long."""

import hashlib
import logging
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asvit.core.threads import in_order, or_reason
from asvit.data.base import LabelledImages, Progress, sets_digest
from asvit.data.kinds import Array
from asvit.data.preparation import Preparation
from asvit.data.store import cache_folder

MOST: Final = 2 * 2**30  #: bytes of a set in memory
_SLOW: Final = 1.0  # seconds of decoding that are worth a file
_KEPT: Final = 8 * 2**30  # bytes of all such files
_VERSION: Final = 1  # of what is in them

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Pixels:
    """The images of a set, resized and cropped as their preparation says, not normalised."""

    values: Tensor  # [n, C, S, S], uint8 where all are whole numbers to 255, else float32
    bad: Mapping[int, str]  # the index of each image that cannot be read, and why; zeros here


def fit_in_memory(images: LabelledImages, image_size: int) -> bool:
    """Whether a set is small enough at a side in pixels to be kept in memory."""
    kind = images.kind
    each = kind.channels * image_size**2 * (1 if kind.picture else 4)
    return len(images) * each <= MOST


def decode(
    images: LabelledImages, preparation: Preparation, progress: Progress | None = None
) -> Pixels:
    """Decode all images of a set, in several threads.

    What takes longer than a second is written to the cache folder, and mapped into memory from
    there by this and other processes. ``progress`` is told of images that are ready.
    """
    path = cache_folder() / "pixels" / f"{_key(images, preparation)}.npy"
    if (stored := _mapped(path)) is not None:
        return Pixels(torch.from_numpy(stored), {})
    began = time.perf_counter()
    pixels = _decoded(images, preparation, progress)
    if time.perf_counter() - began > _SLOW and not pixels.bad:
        _write(path, pixels.values.numpy())
        if (stored := _mapped(path)) is not None:
            return Pixels(torch.from_numpy(stored), {})
    return pixels


def _decoded(
    images: LabelledImages, preparation: Preparation, progress: Progress | None
) -> Pixels:
    def read(index: int) -> Tensor:
        return preparation.crop(images.picture(index))

    kind, side, count = preparation.kind, preparation.image_size, len(images)
    dtype = torch.uint8 if kind.picture else torch.float32
    values = torch.zeros(count, kind.channels, side, side, dtype=dtype)
    bad = dict[int, str]()
    for index, pixels in enumerate(in_order(or_reason(read), range(count))):
        if isinstance(pixels, str):
            bad[index] = pixels
        else:
            values[index] = pixels
        if progress is not None:
            progress(index + 1, count)
    if dtype != torch.uint8 and _are_bytes(values):
        values = values.to(torch.uint8)
    return Pixels(values, bad)


def _are_bytes(values: Tensor) -> bool:
    """Whether all numbers are whole and from 0 to 255."""
    parts = values.split(1024)
    return all(bool((part == part.clamp(0, 255).round()).all()) for part in parts)


def _key(images: LabelledImages, preparation: Preparation) -> str:
    """A digest of the set, of the state of its files, and of how it is prepared."""
    digest = hashlib.sha256(sets_digest(images).encode())
    digest.update(repr((_VERSION, images.ground, preparation.geometry)).encode())
    for index in range(len(images)):
        stored = images.stored(index)
        if stored is not None:
            path = stored if isinstance(stored, Path) else stored.path
            with suppress(OSError):
                about = path.stat()
                digest.update(repr((str(path), about.st_size, about.st_mtime_ns)).encode())
    return digest.hexdigest()


def _mapped(path: Path) -> Array | None:
    """The array in a file, which is read when it is used; None where there is none."""
    try:
        # Copy-on-write, as PyTorch has no tensors that cannot be written to.
        stored: NDArray[Any] = np.load(path, mmap_mode="c")
        os.utime(path)  # so that the files that are used last stay
    except (OSError, ValueError):
        return None
    return stored


def _write(path: Path, values: NDArray[Any]) -> None:
    """Write an array in one step, and remove the oldest files beyond what is kept."""
    part = path.with_name(f".{uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            np.save(file, values, allow_pickle=False)
        part.replace(path)
        newest = sorted(_files(path.parent), key=lambda entry: -entry[1].st_mtime)
        total = 0
        for stored, about in newest:
            total += about.st_size
            if total > _KEPT and stored != path:
                stored.unlink(missing_ok=True)
    except OSError as error:
        _log.info("cannot cache decoded images in %s: %s", path.parent, error.strerror or error)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _files(folder: Path) -> list[tuple[Path, os.stat_result]]:
    return [(file, file.stat()) for file in folder.iterdir() if file.is_file()]

"""Images made once and kept on disk: whole or absent, checked when read, never trusted blindly."""

import functools
import logging
import os
import sys
import tempfile
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from asvit._files import expanded, write_bytes

Pictures = NDArray[np.uint8]

_log = logging.getLogger(__name__)


def cache_folder() -> Path:
    """Where made images are kept unless told otherwise.

    ``$ASVIT_CACHE``; else ``asvit`` in ``$XDG_CACHE_HOME``, else in the platform's own place for
    caches. Nothing is created.
    """
    if chosen := os.environ.get("ASVIT_CACHE"):
        return expanded(chosen)
    if shared := os.environ.get("XDG_CACHE_HOME"):
        return Path(shared) / "asvit"
    try:
        home = Path.home()
    except RuntimeError:  # a container's user without a home
        return Path(tempfile.gettempdir()) / "asvit-cache"
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "asvit"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", home)) / "asvit" / "cache"
    return home / ".cache" / "asvit"


def write_pictures(path: Path, pictures: Pictures) -> bool:
    """Write pictures, each with its checksum, as one file that appears whole or not at all.

    Several processes may write the same path: the last one wins, and readers see one or the other.

    Args:
        path: The file; its folder is made.
        pictures: ``[n, H, W, 3]``.

    Returns:
        Whether it was written. A failure is logged once per folder and is not an error.
    """
    sums = np.array([zlib.crc32(picture.data) for picture in pictures], np.uint32)
    data = save({"pictures": pictures, "crc32": sums})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, data, cached=True)
    except OSError as error:
        _warn_unwritable(path.parent, error.strerror or str(error))
        return False
    return True


@functools.cache
def _warn_unwritable(folder: Path, reason: str) -> None:
    _log.warning(
        "cannot keep images in %s (%s): they will be made again each time", folder, reason
    )


def read_pictures(path: Path, shape: tuple[int, ...]) -> Pictures | None:
    """Read all pictures of a file.

    Args:
        path: The file.
        shape: The shape that they must have, ``(n, H, W, 3)``.

    Returns:
        uint8 of that shape; None if the file is missing, damaged, or of another shape.
    """
    try:
        with safe_open(path, "numpy") as file:
            pictures: Pictures = file.get_tensor("pictures")
            sums = file.get_tensor("crc32")
    except FileNotFoundError:
        return None
    except (OSError, SafetensorError) as error:
        _log.info("not using %s: %s", path, error)
        return None
    fits = pictures.shape == shape and pictures.dtype == np.uint8 and sums.shape == shape[:1]
    if not fits or any(zlib.crc32(p.data) != s for p, s in zip(pictures, sums, strict=True)):
        _log.info("not using %s: its content is damaged", path)
        return None
    return pictures


def read_picture(path: Path, index: int, shape: tuple[int, ...]) -> Pictures | None:
    """Read one picture of a file without reading the others.

    Args:
        path: The file.
        index: Which picture.
        shape: The shape that it must have, ``(H, W, 3)``.

    Returns:
        uint8 of that shape; None if it is missing, damaged, or of another shape.
    """
    try:
        with safe_open(path, "numpy") as file:
            pictures = file.get_slice("pictures")
            if pictures.get_shape()[1:] != list(shape):
                return None
            picture: Pictures = pictures[index]
            expected = file.get_tensor("crc32")[index]
    except FileNotFoundError:
        return None
    except (OSError, SafetensorError, IndexError) as error:
        _log.info("not using %s: %s", path, error)
        return None
    return picture if zlib.crc32(picture.data) == expected else None

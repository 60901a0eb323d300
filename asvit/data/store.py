"""Cache of generated images on disk: files are written atomically and verified when read."""

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

from asvit.core.files import expanded, write_bytes

Pictures = NDArray[np.uint8]

_log = logging.getLogger(__name__)


def cache_folder() -> Path:
    """The default cache folder of generated images.

    ``$ASVIT_CACHE``; else ``asvit`` in ``$XDG_CACHE_HOME``, else in the platform's folder for
    caches. Nothing is created.
    """
    if folder := os.environ.get("ASVIT_CACHE"):
        return expanded(folder)
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
    """Write pictures ``[n, H, W, 3]`` with their checksums to a file, atomically.

    Several processes may write the same path; the last one wins, and readers see a whole file.
    False if it cannot be written, which is logged once per folder.
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
        "cannot cache images in %s (%s); they will be generated again each time", folder, reason
    )


def read_pictures(
    path: Path, shape: tuple[int, ...], rows: slice = slice(None)
) -> Pictures | None:
    """Read pictures of a file of the shape ``(n, H, W, 3)``, all or some without the others.

    None if the file is missing, has another shape, or is damaged in the rows.
    """
    try:
        with safe_open(path, "numpy") as file:
            stored, sums = file.get_slice("pictures"), file.get_slice("crc32")
            fits = (stored.get_shape(), stored.get_dtype()) == (list(shape), "U8")
            if not fits or sums.get_shape() != list(shape[:1]):
                _log.info("not using %s: it holds something else", path)
                return None
            pictures: Pictures = stored[rows]
            expected = sums[rows]
    except FileNotFoundError:
        return None
    except (OSError, SafetensorError) as error:
        _log.info("not using %s: %s", path, error)
        return None
    if any(zlib.crc32(p.data) != s for p, s in zip(pictures, expected, strict=True)):
        _log.info("not using %s: its content is damaged", path)
        return None
    return pictures

"""Arrays in files of the cache folder: written in one step, and read when they are used."""

import functools
import io
import logging
import os
import tempfile
from pathlib import Path

import numpy as np

from asvit.core.files import expanded, write_bytes
from asvit.data.kinds import Array

_log = logging.getLogger(__name__)


def cache_folder() -> Path:
    """The default cache folder: ``$ASVIT_CACHE``, else ``asvit`` in the user's folder for caches.

    That is ``$XDG_CACHE_HOME``, else ``~/.cache``. Nothing is created.
    """
    if folder := os.environ.get("ASVIT_CACHE"):
        return expanded(folder)
    if shared := os.environ.get("XDG_CACHE_HOME"):
        return Path(shared) / "asvit"
    try:
        return Path.home() / ".cache" / "asvit"
    except RuntimeError:  # a container's user without a home
        return Path(tempfile.gettempdir()) / "asvit-cache"


def write_array(path: Path, values: Array) -> bool:
    """Write an array as NPY, of which several processes may write the same.

    False if it cannot be written, which is logged once per folder.
    """
    header = io.BytesIO()
    values = np.ascontiguousarray(values)
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(values))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, header.getvalue(), values.data, cached=True)
    except OSError as error:
        _warn_unwritable(path.parent, error.strerror or str(error))
        return False
    return True


@functools.cache
def _warn_unwritable(folder: Path, reason: str) -> None:
    words = "cannot cache images in %s (%s); they will be made again each time"
    _log.warning(words, folder, reason)


def mapped_array(path: Path) -> Array | None:
    """The array in a file, mapped into memory copy-on-write; None where there is none."""
    try:
        # PyTorch has no tensors that cannot be written to.
        stored: Array = np.load(path, mmap_mode="c")
    except (OSError, ValueError, EOFError):
        return None
    return stored

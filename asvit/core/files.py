"""Atomic file writes, and paths as users type them."""

import functools
import os
import re
import time
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

#: Ways of reading image files that a text of images may end in, after a colon.
READINGS = ("rgb", "grey")

_OLD = 86_400  # seconds; no write takes nearly as long


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8 with :func:`write_bytes`, keeping its line ends."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, *data: bytes | memoryview, cached: bool = False) -> None:
    """Replace ``path`` by all ``data`` in one step: nobody ever reads a partial file.

    What is ``cached`` can be made again, and other threads or processes may write the same file:
    it gets a unique temporary file, and does not wait for the disk.
    """
    # With a fixed name, the next write replaces what a killed one left.
    part = path.with_name(f".{path.name}.{uuid4().hex}.part" if cached else f".{path.name}.part")
    if cached:
        _remove_old_parts(path.parent)
    try:
        with part.open("wb") as file:
            file.writelines(data)
            if not cached:
                file.flush()
                os.fsync(file.fileno())  # else a power cut could leave an empty file
        part.replace(path)
        if not cached:
            sync_folder(path.parent)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error
    except BaseException:
        part.unlink(missing_ok=True)
        raise


@functools.cache  # a folder of many files is listed once
def _remove_old_parts(folder: Path) -> None:
    """Remove the unique temporary files that killed writes have left in ``folder``."""
    with suppress(OSError):  # they are in nobody's way
        for part in folder.glob(".*.part"):
            is_unique = re.fullmatch(r"\..+\.[0-9a-f]{32}\.part", part.name)
            if is_unique and time.time() - part.lstat().st_mtime > _OLD:
                part.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Put the names in ``folder`` on the disk: a power cut could undo a new file or a renaming.

    Systems that cannot do that for a folder are left alone.
    """
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def read_text(path: Path) -> str:
    """The text of a file of a run."""
    return path.read_bytes().decode("utf-8")  # with the line ends that are in it


def check_target(path: Path) -> None:
    """Check that ``path`` can be written, without creating anything."""
    folder = path.parent
    if not folder.exists():
        raise FileNotFoundError(f"no folder {str(folder)!r} for {path.name!r}; make it first")
    if not folder.is_dir():
        raise NotADirectoryError(f"{str(folder)!r} is a file; name a file in a folder")
    if path.exists() and not path.is_file():
        raise ValueError(f"{str(path)!r} is not a regular file; name another one")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"{str(folder)!r} may not be written to; name a file elsewhere")


def expanded(text: str) -> Path:
    """``text`` as a path, with a leading ``~`` expanded if that user has a home."""
    path = Path(text)
    try:
        return path.expanduser()
    except RuntimeError:
        return path


def split_reading(spec: str) -> tuple[str, str]:
    """A text of images without the reading that it ends in, and the reading, or nothing.

    Example:
        >>> split_reading("xrays:grey")
        ('xrays', 'grey')
    """
    before, _, reading = spec.rpartition(":")
    # An existing path of that name is meant as it is.
    if not before or reading not in READINGS or expanded(spec).exists():
        return spec, ""
    return before, reading


def with_reading(spec: str | Path, reading: str) -> str:
    """The inverse of :func:`split_reading`."""
    return f"{spec}:{reading}" if reading else str(spec)

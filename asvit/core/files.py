"""Atomic file writes, journals of JSON lines, and paths as users type them."""

import json
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from asvit.core.codec import MALFORMED, content_fault, parse_json

logger = logging.getLogger(__name__)

#: Ways of reading image files that a text of images may end in, after a colon.
READINGS = ("rgb", "grey")


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
    try:
        with part.open("wb") as file:
            file.writelines(data)
            if not cached:
                file.flush()
                os.fsync(file.fileno())  # else a power cut could leave an empty file
        part.replace(path)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def read_text(path: Path) -> str:
    """The text of a file of a run."""
    return path.read_bytes().decode("utf-8")  # with the line ends that are in it


def append_record(path: Path, record: Mapping[str, Any]) -> None:
    """Put ``record`` at the end of the file, a JSON object a line, and on the disk."""
    line = json.dumps(record, separators=(",", ":"), allow_nan=False)
    try:
        with path.open("ab") as file:
            file.write(f"{line}\n".encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def read_records(path: Path, take: Callable[[Mapping[str, Any]], None], *, what: str) -> None:
    """Hand every record of the file to ``take``, in order; then cut off an unfinished last one.

    Only a process that was killed while it wrote leaves such a one: it lacks its line end. What
    ``take`` raises on a record that is none of its own, of ``what``, makes the error below.

    Raises:
        ValueError: If a line is no record. Nothing is changed then.
        OSError: If the file cannot be read.
    """
    if not path.exists():
        return
    content = path.read_bytes()
    *lines, tail = content.split(b"\n")
    for number, line in enumerate(lines, start=1):
        try:
            take(parse_json(line))
        except MALFORMED as error:
            raise ValueError(
                f"{path}, line {number} is not a record of {what}: {content_fault(error)}; "
                f"{advice(number)}"
            ) from error
    cut_off(path, len(content), tail)


def cut_off(path: Path, size: int, tail: bytes) -> None:
    """Cut ``tail``, an unfinished record if any, off the end of a file of ``size`` bytes."""
    if tail:
        os.truncate(path, size - len(tail))
        logger.warning(
            "cut off %d bytes of an unfinished record at the end of %s", len(tail), path
        )


def advice(number: int = 1) -> str:
    """What to do about a damaged line, or file; lines above it, if any, are whole."""
    above = "delete that line and all below it to go on from those above, " * (number > 1)
    return f"restore it from a copy, {above}or give --fresh to start over (nothing was changed)"


def check_target(path: Path) -> None:
    """Check that ``path`` can be written, without creating anything."""
    folder = path.parent
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {str(folder)!r} for {path.name!r}; make it first")
    if path.exists() and not path.is_file():
        raise ValueError(f"{str(path)!r} is not a regular file; name another one")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"{str(folder)!r} may not be written to; name a file elsewhere")


def expanded(text: str) -> Path:
    """``text`` as a path, with a leading ``~`` expanded if that user has a home."""
    return Path(os.path.expanduser(text))  # noqa: PTH111 - pathlib's own fails without a home


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

"""Records in a file, one JSON object a line, each on the disk before the next one is made."""

import errno
import json
import logging
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from asvit.core.codec import MALFORMED as MALFORMED
from asvit.core.codec import content_fault
from asvit.core.files import sync_folder
from proxies.text import one_line

logger = logging.getLogger(__name__)

REMOVED = (
    "the journal was removed during the run, which stops here; put it back, or give --fresh to "
    "start over"
)
_LOST_NOTHING = (
    "the journal cannot be written; what it holds is safe, and the same command continues"
)


def parse_json(data: bytes | str) -> Any:
    """The content of strict JSON, whose numbers are finite; Python's own takes others, too."""
    return json.loads(data, parse_int=_whole, parse_float=_float, parse_constant=_float)


def _whole(text: str) -> int:
    _float(text)  # what computes with it would fail
    return int(text)


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"number {one_line(text, most=40)} is not finite")
    return value


def append_record(path: Path, record: Mapping[str, Any], *, started: bool = False) -> None:
    """Put ``record`` at the end of the file, and on the disk.

    In a file that was ``started`` are the run's settings, without which a record means nothing:
    another file is not made in its place.
    """
    line = json.dumps(record, separators=(",", ":"), allow_nan=False)
    creation = 0 if started else os.O_CREAT
    try:
        flags = os.O_WRONLY | os.O_APPEND | creation | getattr(os, "O_BINARY", 0)
        with os.fdopen(os.open(path, flags, 0o666), "ab") as opened:
            new = not opened.tell()
            opened.write(f"{line}\n".encode())
            opened.flush()
            os.fsync(opened.fileno())
        if new:
            sync_folder(path.parent)
    except OSError as error:
        if started and error.errno == errno.ENOENT:
            raise FileNotFoundError(errno.ENOENT, REMOVED, str(path)) from error
        raise OSError(error.errno, f"{_LOST_NOTHING} ({error.strerror})") from error


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
    whole, end, tail = content.rpartition(b"\n")
    for number, line in enumerate(whole.split(b"\n") if end else (), start=1):
        try:
            take(parse_json(line))
        except MALFORMED as error:
            why = content_fault(error)
            raise ValueError(
                f"{path}, line {number} is not a record of {what}: {why}; {advice(number)}"
            ) from error
    cut_off(path, len(content), tail)


def cut_off(path: Path, size: int, tail: bytes) -> None:
    """Cut ``tail``, an unfinished record if any, off the end of a file of ``size`` bytes."""
    if tail:
        with path.open("r+b") as file:
            file.truncate(size - len(tail))
        logger.warning(
            "cut off %d bytes of an unfinished record at the end of %s", len(tail), path
        )


def advice(number: int = 1) -> str:
    """What to do about a damaged line, or file; lines above it, if any, are whole."""
    above = "delete that line and all below it to go on from those above, " * (number > 1)
    return f"restore it from a copy, {above}or give --fresh to start over (nothing was changed)"

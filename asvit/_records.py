"""Records in a file, one JSON object a line: each on the disk before the next one is made."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

_ADVICE = "restore it from a copy, or give --fresh to start over (nothing was changed)"
_LOST_NOTHING = (
    "the journal cannot be written; what it holds is safe, and the same command continues"
)


def append_record(path: Path, record: Mapping[str, Any]) -> None:
    """Put ``record`` at the end of the file, and on the disk.

    Raises:
        OSError: If it cannot be written; the records before it are safe.
    """
    line = json.dumps(record, separators=(",", ":"), allow_nan=False) + "\n"
    try:
        with path.open("a", encoding="utf-8", newline="") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise OSError(error.errno, f"{_LOST_NOTHING} ({error.strerror})") from error


def read_records(path: Path, take: Callable[[Mapping[str, Any]], None], *, what: str) -> None:
    """Hand every record of the file to ``take``, in order; then cut off an unfinished last one.

    Only a process that was killed while it wrote leaves such a one: it lacks its line end.

    Args:
        path: The file; it need not be there.
        take: Takes a record; what it raises on one that is none of its own makes the error below.
        what: What the records are of, for the message.

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
            take(json.loads(line))
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
            raise ValueError(
                f"{path}, line {number} is not a record of {what}; {_ADVICE}"
            ) from error
    if tail:
        with path.open("r+b") as file:
            file.truncate(len(content) - len(tail))
        logger.warning(
            "cut off %d bytes of an unfinished record at the end of %s", len(tail), path
        )


def finite(value: float) -> float | None:
    """``value`` as strict JSON can hold it: None where it is NaN or infinite."""
    return value if math.isfinite(value) else None


def number(value: float | None) -> float:
    """What :func:`finite` made of a number; NaN for None."""
    return math.nan if value is None else value

"""Records in a file, one JSON object a line: each on the disk before the next one is made."""

from __future__ import annotations

import errno
import json
import logging
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from asvit.core.codec import MALFORMED as MALFORMED
from asvit.core.codec import Nullable, from_json, to_json
from asvit.core.files import sync_folder
from proxies.messages import one_line

if TYPE_CHECKING:
    from proxies import Score

logger = logging.getLogger(__name__)

_ADVICE = "restore it from a copy, or give --fresh to start over (nothing was changed)"
_REMOVED = "the journal was removed while the run went on, which ends here"
_LOST_NOTHING = (
    "the journal cannot be written; what it holds is safe, and the same command continues"
)


def parse_json(data: bytes | str) -> Any:
    """The content of strict JSON, whose numbers are finite; Python's own takes others, too.

    Raises:
        ValueError: If it is something else, a number in it is NaN, infinite or too large for a
            float, or it is no UTF-8.
        RecursionError: If it is nested a thousand times.
    """
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

    Raises:
        FileNotFoundError: If it was started and is no longer there.
        OSError: If it cannot be written; the records before it are safe.
    """
    if started and not path.exists():
        raise FileNotFoundError(errno.ENOENT, _REMOVED, str(path))
    line = json.dumps(record, separators=(",", ":"), allow_nan=False) + "\n"
    try:
        with path.open("a", encoding="utf-8", newline="") as file:
            new = not file.tell()
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        if new:
            sync_folder(path.parent)
    except OSError as error:
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
            raise ValueError(
                f"{path}, line {number} is not a record of {what}; {_ADVICE}"
            ) from error
    if tail:
        with path.open("r+b") as file:
            file.truncate(len(content) - len(tail))
        logger.warning(
            "cut off %d bytes of an unfinished record at the end of %s", len(tail), path
        )


@dataclass(frozen=True)
class _Score:
    """A score as a record holds it."""

    value: Nullable
    std: Nullable
    values: tuple[Nullable, ...]
    better: Literal["higher", "lower", "reported"]
    reason: str


def score_to_json(score: Score) -> dict[str, Any]:
    """``score`` in the types of strict JSON: None for what is not finite."""
    content: dict[str, Any] = to_json(score)
    return content


def score_from_json(content: Mapping[str, Any]) -> Score:
    """Undo :func:`score_to_json`."""
    from proxies import Score  # torch, which reading settings alone does not need

    return Score(**vars(from_json(content, _Score)))

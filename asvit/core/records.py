"""Records in a file, one JSON object a line: summed, on the disk before the next one is made."""

import errno
import json
import logging
import math
import os
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from asvit.core.codec import MALFORMED as MALFORMED
from asvit.core.codec import OTHER_VERSION, content_fault
from asvit.core.files import check_plain, sync_folder
from proxies.text import one_line

logger = logging.getLogger(__name__)

REMOVED = (
    "the journal was removed during the run, which stops here; put it back, or give --fresh to "
    "start over"
)
_LOST_NOTHING = (
    "the journal cannot be written; what it holds is safe, and the same command continues"
)

_SEAL = re.compile(rb'\{"crc32":"([0-9a-f]{8})",')
_BLOCK = 1 << 20


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


class SummedFile:
    """A file of JSON objects, one a line, which begin with check sums and are only added to.

    The sum of a line is the CRC-32 of the file up to its end, without this sum: it shows a change
    of the line as well as a line before it that was changed, is missing or is out of order.

    The file need not be there. Others may add lines, with sums or without.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._size = self._sum = 0

    def sealed(self, lines: Iterable[str]) -> bytes:
        """The lines, JSON objects with keys, with sums for the end of the file as it is now."""
        self._catch_up()
        total, all_lines = self._sum, b""
        for line in lines:
            body = line.encode()
            sealed = b'{"crc32":"%08x",%s\n' % (zlib.crc32(body, total), body[1:])
            total = zlib.crc32(sealed, total)
            all_lines += sealed
        return all_lines

    def _catch_up(self) -> None:
        try:
            size = self.path.stat().st_size
        except FileNotFoundError:
            size = 0
        if size < self._size:
            self._size = self._sum = 0
        if size > self._size:
            with self.path.open("rb") as file:
                file.seek(self._size)
                while block := file.read(_BLOCK):
                    self._sum = zlib.crc32(block, self._sum)
                    self._size += len(block)


def unsealed(lines: Iterable[bytes]) -> Iterator[tuple[bytes, bool | None]]:
    """The lines of a :class:`SummedFile` without sums, and whether these are right.

    None for a line that has none.
    """
    total = 0
    for line in lines:
        seal = _SEAL.match(line)
        body = line if seal is None else b"{" + line[seal.end() :]
        yield body, None if seal is None else int(seal[1], 16) == zlib.crc32(body, total)
        total = zlib.crc32(line + b"\n", total)


def append_record(file: SummedFile, record: Mapping[str, Any], *, started: bool = False) -> None:
    """Put ``record`` at the end of the file, and on the disk.

    In a file that was ``started`` are the run's settings, without which a record means nothing:
    another file is not made in its place.
    """
    path = file.path
    line = json.dumps(record, separators=(",", ":"), allow_nan=False)
    creation = 0 if started else os.O_CREAT
    try:
        sealed = file.sealed([line])
        flags = os.O_WRONLY | os.O_APPEND | creation | getattr(os, "O_BINARY", 0)
        with os.fdopen(os.open(path, flags, 0o666), "ab") as opened:
            new = not opened.tell()
            opened.write(sealed)
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
        ValueError: If a line is no record, or not what was written. Nothing is changed then.
        OSError: If the file cannot be read.
    """
    check_plain(path)
    if not path.exists():
        return
    content = path.read_bytes()
    whole, end, tail = content.rpartition(b"\n")
    for number, (line, right) in enumerate(unsealed(whole.split(b"\n") if end else ()), start=1):
        try:
            take(parse_json(line))
        except MALFORMED as error:
            why = content_fault(error)
            raise ValueError(
                f"{path}, line {number} is not a record of {what}: {why}; {advice(number)}"
            ) from error
        if not right:
            raise ValueError(changed_line(path, number))
    cut_off(path, len(content), tail)


def cut_off(path: Path, size: int, tail: bytes) -> None:
    """Cut ``tail``, an unfinished record if any, off the end of a file of ``size`` bytes."""
    if tail:
        with path.open("r+b") as file:
            file.truncate(size - len(tail))
        logger.warning(
            "cut off %d bytes of an unfinished record at the end of %s", len(tail), path
        )


def changed_line(path: Path, number: int) -> str:
    """The message for a line whose check sum is another one."""
    return (
        f"{path}, line {number} is not what was written there: it was changed, a line before it "
        f"was changed, is missing or out of order, or {OTHER_VERSION}; {advice(number)}"
    )


def advice(number: int = 1) -> str:
    """What to do about a damaged line, or file; lines above it, if any, are whole."""
    above = "delete that line and all below it to go on from those above, " * (number > 1)
    return f"restore it from a copy, {above}or give --fresh to start over (nothing was changed)"

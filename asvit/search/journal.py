"""The Optuna journal of a run folder, which survives a kill in the middle of a write."""

import errno
import json
import logging
import os
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from optuna.exceptions import OptunaError
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from asvit.core.files import check_plain, sync_folder
from asvit.core.records import (
    MALFORMED,
    REMOVED,
    SummedFile,
    advice,
    changed_line,
    cut_off,
    unsealed,
)
from proxies.text import one_line

logger = logging.getLogger(__name__)

_RECORD_STARTS = (b'{"op_code"', b'{"crc32":"')  # the first is of other writers
_STALE_SECONDS = 1.0  # a record is written in milliseconds


class JournalFile(JournalFileBackend):
    """Optuna's journal file, flushed to the disk twice a trial instead of once a parameter.

    A kill loses nothing that was written; only a power cut loses what is not on the disk yet.
    Records of a trial in flight may be lost: it is measured again anyway. The record that ends a
    trial flushes all records before it. The lock excludes other writers, such as a dashboard.
    Records begin with check sums, a key that Optuna ignores; those of other writers have none.
    """

    def __init__(self, path: Path, lock: JournalFileOpenLock) -> None:
        new = not path.exists()
        super().__init__(str(path), lock_obj=lock)
        if new:
            sync_folder(path.parent)
        self._path = path
        self._summed = SummedFile(path)
        self._open_lock = lock

    def append_logs(self, logs: Sequence[Mapping[str, Any]]) -> None:
        """Append one line a record."""
        lines = [json.dumps(log, separators=(",", ":")) for log in logs]
        with self._removal_told():
            self._open_lock.acquire()
            try:
                sealed = self._summed.sealed(lines)
                with self._path.open("r+b") as file:  # not made anew
                    file.seek(0, os.SEEK_END)
                    file.write(sealed)
                    file.flush()
                    # Only the record that ends a trial has the key "values".
                    if not all("trial_id" in log and "values" not in log for log in logs):
                        os.fsync(file.fileno())
            finally:
                self._open_lock.release()

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        """The records from a number on."""
        with self._removal_told():
            yield from super().read_logs(log_number_from)

    @contextmanager
    def _removal_told(self) -> Iterator[None]:
        """Say where the journal, or the lock beside it, is not there any more."""
        try:
            yield
        except (FileNotFoundError, RuntimeError) as error:  # the latter the library's, of the lock
            raise FileNotFoundError(errno.ENOENT, REMOVED, str(self._path)) from error


def open_journal(path: Path) -> JournalStorage:
    """Open the journal at ``path``, or start one.

    A record without a line end is cut off: its process was killed while writing it. The caller
    must hold the run folder's lock.

    Raises:
        ValueError: If a line is not a record, or the records do not make a study. Nothing is
            changed then.
        OSError: If the file cannot be read or written.
    """
    check_plain(path)
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is not a file; give --out another folder")
    lock = JournalFileOpenLock(str(path))
    _break_stale_lock(path.with_name(path.name + ".lock"))
    if path.exists():
        lock.acquire()
        try:
            content = path.read_bytes()
            cut_off(path, len(content), _check(path, content))
        finally:
            lock.release()
    return _replay(path, lock)


def read_journal(path: Path) -> JournalStorage:
    """Open the journal at ``path`` for reading only.

    It is neither locked nor repaired, so a search may be writing to it; an incomplete last record
    is left out.
    """
    check_plain(path)
    if path.is_file():
        content = path.read_bytes()
        _check(path, content[: content.rfind(b"\n") + 1])
    return _replay(path, JournalFileOpenLock(str(path)))


def _replay(path: Path, lock: JournalFileOpenLock) -> JournalStorage:
    check_plain(path)
    try:
        return JournalStorage(JournalFile(path, lock))
    except (*MALFORMED, AssertionError, OptunaError) as error:
        raise ValueError(
            f"{path} is corrupt: its records do not make a study ({one_line(repr(error))}); "
            f"{advice()}"
        ) from error


def _break_stale_lock(lock: Path) -> None:
    """Remove the journal's lock if the process that held it was killed.

    Optuna would wait half a minute first. Other writers, such as a dashboard, hold the lock for
    milliseconds.
    """
    for left in lock.parent.glob(f"{lock.name}*.rename"):  # a lock on its way out
        left.unlink(missing_ok=True)
    deadline = time.monotonic() + _STALE_SECONDS
    try:
        before = lock.lstat()
        while time.monotonic() < deadline:
            time.sleep(0.02)
            if lock.lstat().st_mtime_ns != before.st_mtime_ns:
                return
        lock.unlink()
    except FileNotFoundError:
        return
    logger.info("removed the lock %s, which a killed process had left", lock)


def _check(path: Path, content: bytes) -> bytes:
    """Check every line of a journal; returns an unfinished last one, or nothing."""
    *lines, tail = content.split(b"\n")
    for number, (line, right) in enumerate(unsealed(lines), start=1):
        if not _is_record(line):
            raise ValueError(f"{path}, line {number} is not a journal record; {advice(number)}")
        # Lines of other writers have no sum; they show in that of the next line of ours.
        if not (right or (right is None and line.startswith(_RECORD_STARTS[0]))):
            raise ValueError(changed_line(path, number))
    if tail and not _is_unfinished(tail):
        number = len(lines) + 1
        raise ValueError(f"{path}, line {number} is not a journal record; {advice(number)}")
    return tail


def _is_record(line: bytes) -> bool:
    try:
        record = json.loads(line)
    except MALFORMED:
        return False
    return isinstance(record, dict) and isinstance(record.get("op_code"), int)


def _is_unfinished(tail: bytes) -> bool:
    """Whether ``tail`` is the start of a record, or the zeros that a power cut leaves."""
    record = any(tail.startswith(start) or start.startswith(tail) for start in _RECORD_STARTS)
    return record or not tail.strip(b"\0")

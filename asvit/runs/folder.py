"""Run folders: claimed by one process, found again, emptied of what a run wrote."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from asvit._records import MALFORMED, parse_json
from asvit._run_files import RESULT
from asvit.settings import ELSEWHERE

LOCK = ".lock"

_LONGEST = 120  # characters of a folder's name; file systems take 255 bytes

_COMMANDS = {"supernet": "supernet train"}  # where a run is not called as its command is


def named_folder(name: str) -> Path:
    """The folder in ``runs`` for a name made of settings, whatever they hold."""
    return Path("runs") / plain_name(name)


def plain_name(name: str) -> str:
    """``name`` without characters that mean anything to a shell or a file system.

    A long name is cut, and ends in the beginning of its digest. One that is no letter, such as
    ``..``, still leads elsewhere: put words of one's own before it.
    """
    plain = re.sub("[^A-Za-z0-9_.-]+", "-", name)
    if len(plain) > _LONGEST:
        digest = hashlib.sha256(name.encode(errors="backslashreplace")).hexdigest()
        plain = f"{plain[:_LONGEST]}-{digest[:8]}"
    return plain


def check_writable(folder: Path) -> None:
    """Check that ``folder`` is, or can become, a folder to write in, without making anything.

    Raises:
        NotADirectoryError: If something that is no folder is in the way.
        PermissionError: If it may not be written to.
    """
    present = folder
    while not os.path.lexists(present) and present != present.parent:
        present = present.parent
    if not present.is_dir():
        kind = "a file" if present.exists() else "a link to nothing"
        raise NotADirectoryError(f"{present} is {kind}, not a folder; give --out another folder")
    if not os.access(present, os.W_OK | os.X_OK):
        raise PermissionError(f"{present} may not be written to; give --out a folder that may be")


@contextmanager
def claimed(folder: Path, kind: str = "search") -> Iterator[None]:
    """Make ``folder`` and keep other processes from running in it.

    The claim ends with the process, however that ends.

    Args:
        folder: Run folder.
        kind: What runs in it, for the message.

    Raises:
        ValueError: If another process is running in it.
        OSError: If it cannot be made or written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise ValueError(
            f"another {kind} is running in {folder}; wait for it, stop it, "
            "or give --out another folder"
        ) from None
    try:
        yield
    finally:
        lock.release()


def check_complete(folder: Path, kept: str, results: Sequence[str]) -> None:
    """Check that a run's results do not lie in ``folder`` without what they were made from.

    Args:
        folder: Run folder.
        kept: Name of the file that the run goes on from.
        results: Names of files that are made from it.

    Raises:
        ValueError: If they do.
    """
    strays = [name for name in results if (folder / name).exists()]
    if strays and not (folder / kept).exists():
        raise ValueError(
            f"run folder {folder} has {strays[0]} but not {kept}; put it back, {ELSEWHERE}"
        )


def remove_files(folder: Path, names: Sequence[str]) -> None:
    """Remove the files called ``names`` from ``folder``, in this order; others stay.

    Raises:
        OSError: If one of them cannot be removed.
    """
    for name in names:
        (folder / name).unlink(missing_ok=True)


def newest_run(kind: str = "search", root: Path | str = "runs") -> Path:
    """The folder in ``root`` whose finished run of this kind was written last.

    Args:
        kind: As the run's result.json has it.
        root: Folder of run folders.

    Raises:
        FileNotFoundError: If there is none.
    """
    found = [path for path in Path(root).glob(f"*/{RESULT}") if _kind(path) == kind]
    if not found:
        raise FileNotFoundError(
            f"no finished {kind} in {root}; run asvit {_COMMANDS.get(kind, kind)} first, or name "
            "the run's folder"
        )
    return max(found, key=lambda path: path.stat().st_mtime_ns).parent


def _kind(path: Path) -> object:
    try:
        content = parse_json(path.read_bytes())
    except (*MALFORMED, OSError):
        return None
    return content.get("kind") if isinstance(content, dict) else None

"""Files that are there as a whole or not at all, and paths as people type them."""

from __future__ import annotations

import os
from pathlib import Path
from uuid import uuid4


def write_text(path: Path, text: str) -> None:
    """Put ``text`` at ``path`` as :func:`write_bytes` does, in UTF-8 and with its own line ends.

    Raises:
        OSError: As there.
    """
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, data: bytes, *, cached: bool = False) -> None:
    """Put ``data`` at ``path`` in one step, so that a reader or a kill never sees half of it.

    Args:
        path: The file.
        data: Its content.
        cached: It can be made again, and other threads and processes may be writing it, too:
            each has a part file of its own, and none waits for the disk.

    Raises:
        OSError: If it cannot be written (no space, read-only folder); what was at ``path`` is
            then still there.
    """
    # A part that a kill leaves is written over by the next one where it has a fixed name.
    part = path.with_name(f".{path.name}.{uuid4().hex}.part" if cached else f".{path.name}.part")
    try:
        # A link of that name in a folder of somebody else's would lead to any file of the user's.
        with open(part, "wb", opener=_not_through_links) as file:
            file.write(data)
            if not cached:
                file.flush()
                os.fsync(file.fileno())  # a power cut could leave an empty file under the name
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _not_through_links(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


def check_target(path: Path) -> None:
    """Check that a file can be put at ``path``, without making anything.

    Raises:
        FileNotFoundError: If its folder does not exist.
        NotADirectoryError: If its folder is a file.
        ValueError: If something that is no file is there, such as a folder or a device.
        PermissionError: If its folder may not be written to.
    """
    folder = path.parent
    if not folder.exists():
        raise FileNotFoundError(f"no folder {str(folder)!r} for {path.name!r}; make it first")
    if not folder.is_dir():
        raise NotADirectoryError(f"{str(folder)!r} is a file; name a file in a folder")
    if path.exists() and not path.is_file():
        raise ValueError(f"{str(path)!r} is no file that can be written; name another one")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"{str(folder)!r} may not be written to; name a file elsewhere")


def expanded(text: str) -> Path:
    """The path ``text`` with a leading ``~`` replaced; as it is where that is nobody's home."""
    path = Path(text)
    try:
        return path.expanduser()
    except RuntimeError:
        return path

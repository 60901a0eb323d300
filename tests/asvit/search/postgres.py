"""A PostgreSQL server of a test's own, on a socket in a folder; it goes with the test."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PROGRAMS = ("initdb", "postgres", "pg_ctl")


def programs() -> dict[str, Path]:
    """The server's programs by name; empty where it is not installed."""
    folders = [Path(folder) for folder in os.environ["PATH"].split(os.pathsep)]
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for folder in folders:
        found = {name: folder / name for name in _PROGRAMS}
        if all(path.is_file() for path in found.values()):
            return found
    return {}


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """A server with its data in ``folder``, a new one; its URL for SQLAlchemy."""
    user = _user()
    folder.mkdir()
    if user is not None:
        # The server refuses root; whoever it runs as has to reach the folder.
        shutil.chown(folder, user)
        for parent in folder.parents:
            if parent.stat().st_uid == os.getuid() and not parent.stat().st_mode & 0o001:
                parent.chmod(parent.stat().st_mode | 0o011)
    _call(folder, "initdb", "-A", "trust", "-U", "asvit", "--no-sync", "-E", "UTF8")
    options = f"-k {folder} -c listen_addresses= -c fsync=off"
    _call(folder, "pg_ctl", "-w", "-l", folder / "log", "-o", options, "start")
    try:
        yield f"postgresql+psycopg://asvit@/postgres?host={folder}"
    finally:
        _call(folder, "pg_ctl", "-m", "immediate", "stop")


def _call(folder: Path, program: str, *words: object) -> None:
    subprocess.run(
        [str(word) for word in (programs()[program], "-D", folder / "data", *words)],
        user=_user(), check=True, cwd=folder, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=120,
    )  # fmt: skip


def _user() -> str | None:
    """Whom to run as: root may not, anybody else may."""
    if os.getuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        return "nobody"

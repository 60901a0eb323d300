"""Traps for processes that tests start: where they stop, what they run out of, what misleads them.

Each changes the process that calls it for good.
"""

import ctypes
import datetime
import functools
import os
import random
import resource
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_libc = ctypes.CDLL(None, use_errno=True)
# Of unshare(2), mount(2) and capset(2) on Linux.
_NEW_MOUNTS, _NEW_USER = 0x00020000, 0x10000000
_REMOUNT, _PRIVATE = 32, 0x4000 | 0x40000
_CAPABILITY_VERSION = 0x20080522

#: Where a process stops itself, the how-manieth time it passes there, and by which signal.
Stop = tuple[str, int, int]

#: Name to what holds a function or class, and its name there.
Places = Mapping[str, tuple[Any, str]]


def stop_at(places: Places, stop: Stop | None) -> None:
    """Have this process stop itself at ``stop``, one of the places, if it is given."""
    if stop is None:
        return
    point, count, number = stop
    where, name = places[point]
    function = getattr(where, name)
    passed = 0

    @functools.wraps(function, updated=())
    def wrapped(*arguments: Any, **named: Any) -> Any:
        nonlocal passed
        passed += 1
        if passed == count:
            os.kill(os.getpid(), number)
            time.sleep(60)  # until the signal is here
        return function(*arguments, **named)

    setattr(where, name, wrapped)


def limit_files(largest: int | None) -> None:
    """Let no file grow beyond ``largest`` bytes: records are cut, as a full disk cuts them."""
    if largest is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))


def limit_memory(mebibytes: int) -> None:
    """Let this process take so much more address space than it has by now."""
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limit = taken + mebibytes * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def small_disk(folder: Path, kibibytes: int) -> None:
    """Put a disk of this size at ``folder``, which this process and its children alone see.

    Called again, it changes the size.

    Raises:
        PermissionError: If this machine does not let us.
    """
    folder.mkdir(parents=True, exist_ok=True)
    mounted = folder.is_mount()
    if not mounted:
        try:
            _checked(_libc.unshare(_NEW_MOUNTS))
        except PermissionError:
            _checked(_libc.unshare(_NEW_MOUNTS | _NEW_USER))
        _checked(_libc.mount(b"none", b"/", None, _PRIVATE, None))
    size = f"size={kibibytes}k".encode()
    _checked(_libc.mount(b"none", bytes(folder), b"tmpfs", _REMOUNT if mounted else 0, size))


def drop_privileges() -> None:
    """Let permissions hold for root, too."""
    header, nothing = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0), (ctypes.c_uint32 * 6)()
    _checked(_libc.capset(header, nothing))


def mislead_clock(seconds: float) -> None:
    """Let the time of day jump back or forth by so much with every look at it."""
    rng, real_time, real = random.Random(0), time.time, datetime.datetime

    def jump() -> float:
        return rng.choice((-1, 1)) * seconds

    class Misled(real):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:
            return real.now(tz) + datetime.timedelta(seconds=jump())

    time.time = lambda: real_time() + jump()
    for module in list(sys.modules.values()):  # most have the class by its own name
        if vars(module).get("datetime") is real:
            module.datetime = Misled


def _checked(code: int) -> None:
    """Raise what the C library has to say of a call that failed."""
    if code:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


@contextmanager
def exit_codes() -> Iterator[None]:
    """End the process as a command does: 130 after an interrupt, 3 where the disk refuses."""
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError:
        sys.exit(3)

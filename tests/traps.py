"""Traps for processes that tests start: places where they stop, files that get too large."""

import functools
import os
import resource
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

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


@contextmanager
def exit_codes() -> Iterator[None]:
    """End the process as a command does: 130 after an interrupt, 3 where the disk refuses."""
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError:
        sys.exit(3)

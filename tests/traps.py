"""Traps for processes that tests start: where they stop, what they run out of, what misleads them.

Each changes the process that calls it for good.
"""

import ctypes
import dataclasses
import os
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from zlib import crc32

from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from asvit.search import predictor_sampler
from asvit.training import session
from proxies.registry import PROXIES, Inputs
from tests.campaigns import forked

T = TypeVar("T")

_libc = ctypes.CDLL(None, use_errno=True)
# Of unshare(2), mount(2) and capset(2) on Linux.
_NEW_MOUNTS, _NEW_USER = 0x00020000, 0x10000000
_REMOUNT, _PRIVATE = 32, 0x4000 | 0x40000
_CAPABILITY_VERSION = 0x20080522
#: Where a process stops itself: a point, the how-manieth time it passes there, and the signal.
Stop = tuple[str, int, int]


def prepare(
    *, fakes: bool = True, stop: Stop | None = None, largest: int | None = None, jobs: bool = False
) -> None:
    """Make measures and costs quick, and have the process end as the arguments say.

    Every epoch is kept, however short, so that points of a stop are passed equally often.
    """
    session._SPACING = 0
    if fakes:
        fake_measures()
    if jobs:
        forked.fork_workers()
    if stop is not None:
        stop_at(stop)
    if largest is not None:
        limit_files(largest)


def stop_at(stop: Stop) -> None:
    """Have this process stop itself at a point.

    This is ``measure`` (before the length of a network is taken), ``step`` (before an optimiser's
    step), ``fsync``, ``unlink``, or else the name of a file, once it is written and about to be
    put in its place.
    """
    point, count, number = stop
    passed = 0
    if number == signal.SIGHUP:  # which nohup has ignored
        signal.signal(number, signal.SIG_DFL)

    def pass_by(*_given: object) -> None:
        nonlocal passed
        passed += 1
        if passed == count:
            os.kill(os.getpid(), number)
            time.sleep(60)  # until the signal is here

    def replaced(_source: object, target: str | Path) -> None:
        if Path(target).name == point:
            pass_by()

    if point == "measure":
        right = PROXIES["length_distortion"]
        value = _after(pass_by, right.value)
        PROXIES[right.name] = dataclasses.replace(right, value=value)
    elif point == "step":
        register_optimizer_step_pre_hook(pass_by)
    elif point in ("fsync", "unlink"):
        setattr(os, point, _after(pass_by, getattr(os, point)))
    else:
        os.replace = _after(replaced, os.replace)


def _after(first: Callable[..., object], function: Callable[..., T]) -> Callable[..., T]:
    def both(*given: Any, **named: Any) -> T:
        first(*given)
        return function(*given, **named)

    return both


def fake_measures() -> None:
    """Let measures follow from the size of a network; every fifth one fails.

    A predictor chooses among few architectures, as counting each takes time.
    """
    predictor_sampler._SAMPLED, predictor_sampler._CHILDREN = 20, 2
    for name in ("length_distortion", "ntk_condition_number"):
        PROXIES[name] = dataclasses.replace(PROXIES[name], value=_fake_value)


def _fake_value(model: nn.Module, _inputs: Inputs) -> float:
    drawn = crc32(str(sum(p.numel() for p in model.parameters())).encode())
    return float("nan") if drawn % 5 == 0 else 1.0 + drawn % 997


def limit_files(largest: int) -> None:
    """Let no file grow beyond ``largest`` bytes: records are cut, as a full disk cuts them."""
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


def _checked(code: int) -> None:
    """Raise what the C library has to say of a call that failed."""
    if code:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))

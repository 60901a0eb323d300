"""Tasks, the work they belong to, and the workers a run may use."""

from __future__ import annotations

import gc
import math
import os
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Literal, NamedTuple

from asvit.core.devices import device_failed
from asvit.core.settings import Settings, setting, settings_class
from asvit.executors.placement import all_of
from proxies.messages import out_of_memory

Task = Any  # what a worker is asked for; it is pickled
Worker = Callable[[Task], Any]  # maps a task to its result, which is pickled, too
Kind = Literal["ready", "refused", "answered", "lost", "bug"]
Message = tuple[Kind, Any]  # of a worker: its result, a reason in one line, or a traceback

_MIN_PARALLEL_SECONDS = 60.0  # with less work than this, starting workers does not pay off
_MEMORY_SHARE = 0.5  # of the machine's memory, for an automatic number of workers
# Limits of a container: cgroup v2 and v1.
_MEMORY_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def _seconds(value: float) -> float:
    if not 0 < value < math.inf:
        raise ValueError(f"timeout={value}; use a number of seconds above 0")
    return value


@settings_class
class Workers(Settings):
    """The workers of a run. Results do not depend on them, so they are not part of its settings.

    One job computes in this process. Without a number, it is chosen: on Ray as many as the cluster
    has room for.
    """

    jobs: int | None = setting(
        None,
        "Workers that measure at the same time; their number changes no result, but last digits "
        "on a GPU.",
        shown="one a core or GPU for long runs",
        at_least=1,
    )
    ray: str | None = setting(
        None, "Measure on a Ray cluster; auto is the one that is running here.", metavar="ADDRESS"
    )
    timeout: float | None = setting(
        None,
        "Replace a worker that takes longer than this for a network.",
        metavar="SECONDS",
        convert=_seconds,
    )

    @property
    def in_process(self) -> bool:
        """Whether this process does all the work itself."""
        return self.jobs == 1 and self.ray is None and self.timeout is None

    def resolved(self, device: str, *, tasks: int, seconds: float, gigabytes: float) -> Workers:
        """Choose a number of jobs if none was given; on Ray the cluster decides.

        If the work is long enough to be worth starting workers, it is one per core on the CPU, if
        memory allows, and one per GPU. Otherwise it is one. Of ``tasks`` that can run at the same
        time, all take about so many ``seconds`` on one core; a worker takes so many ``gigabytes``
        of the machine's memory.
        """
        if self.jobs is not None or self.ray is not None:
            return self
        if seconds < _MIN_PARALLEL_SECONDS:
            return replace(self, jobs=1)
        room = _max_workers(gigabytes) if device == "cpu" else len(all_of(device))
        return replace(self, jobs=min(tasks, room))


@dataclass(frozen=True)
class Work:
    """How to construct a worker."""

    # ``"package.module:name"`` of a function that makes a worker from the context and a device.
    # If it raises ``ValueError`` or ``OSError``, the run ends.
    factory: str
    context: Any = None  # what all tasks share, such as settings and images; it is pickled

    def worker(self, device: str) -> Worker:
        """Make a worker that computes on ``device``; call this only in a worker's own process."""
        if device.startswith("cuda:"):
            import torch

            torch.cuda.set_device(device)  # or each process also takes memory of the first GPU
        # Forward mode triggers this warning inside PyTorch.
        warnings.filterwarnings("ignore", message=r"`torch\.jit\.")
        worker: Worker = resolve_name(self.factory)(self.context, device)
        return worker


@dataclass(frozen=True)
class Answer:
    """The outcome of a task."""

    result: Any = None  # what the worker returned; None after a failure
    failure: str = ""  # why there is no result; empty after a success


def perform(worker: Worker, task: Task) -> Message:
    """Run a task in the worker's process; tells its result.

    Or the traceback of a bug; or why the task is lost, where another worker may do it.
    """
    try:
        return "answered", worker(task)
    except Exception as error:  # noqa: BLE001  Pool.run raises it again
        if out_of_memory(error) or device_failed(error):
            return "lost", str(error).partition("\n")[0] or "out of memory"
        return "bug", traceback.format_exc()


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _max_workers(gigabytes: float) -> int:
    """The number of workers the cores allow, and memory if each needs so many gigabytes."""
    if not hasattr(os, "sysconf"):
        return cores()
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for limit in _MEMORY_LIMITS:
        with suppress(OSError, ValueError):  # not there, or "max"
            memory = min(memory, int(Path(limit).read_text()))
    return max(1, min(cores(), int(_MEMORY_SHARE * memory / 1e9 / gigabytes)))


@contextmanager
def one_thread(device: str) -> Iterator[None]:
    """Limit PyTorch to one thread on the CPU: the result of a sum depends on how it is split."""
    import torch

    before = torch.get_num_threads()
    if device == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def apart_from_garbage() -> Iterator[None]:
    """Keep what exists by now out of garbage collections.

    With torch and what imports it these are a million objects, and a full collection among so many
    takes a quarter of a second, every few networks that are measured.
    """
    if gc.get_freeze_count():
        yield
        return
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


class Event(NamedTuple):
    """What a worker told; of one that died, that it is lost."""

    slot: int  # of the worker, from 0
    kind: Kind
    content: Any = None

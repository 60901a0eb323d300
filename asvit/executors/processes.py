"""Workers as processes of this machine; they end with this process, even if it is killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import connection
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from asvit.core.devices import device_failed
from asvit.core.extensions import load_extensions
from asvit.executors.base import Event, Task, Work, apart_from_garbage, cores, perform
from proxies.messages import first_line, out_of_memory

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.context import SpawnProcess

_context = multiprocessing.get_context("spawn")


class ProcessBackend:
    """One process for each device.

    The executors of the standard library do not fit: they lose every task when a worker dies, and
    neither stop one that hangs nor say how it ended.
    """

    def __init__(self, work: Work, devices: Sequence[str]) -> None:
        self._work, self._devices = work, tuple(devices)
        self._workers: dict[int, tuple[SpawnProcess, Connection[Any, Any]]] = {}

    @property
    def slots(self) -> int:
        """One for each device."""
        return len(self._devices)

    def start(self, slot: int) -> None:
        """Start a process, without waiting for its imports."""
        here, there = _context.Pipe()
        threads = max(1, cores() // self.slots)  # equal shares
        arguments = there, self._devices[slot], threads
        process = _context.Process(target=_serve, args=arguments, daemon=True)
        # It imports neither the caller's script again nor what lies in the working directory.
        with (
            patch.dict(os.environ, PYTHONSAFEPATH="1"),
            patch.multiple(sys.modules["__main__"], __spec__=None, __file__=None, create=True),
        ):
            process.start()
        there.close()
        self._workers[slot] = process, here
        # Not as an argument: it would import torch before the next process could start.
        self.send(slot, self._work)

    def send(self, slot: int, task: Task | Work) -> None:
        """Send the process a task; if it is dead, :meth:`wait` tells."""
        with suppress(OSError):
            self._workers[slot][1].send(task)

    def stop(self, slot: int) -> None:
        """Kill the process, if it is there; it causes no further events."""
        if slot in self._workers:
            process, here = self._workers.pop(slot)
            process.kill()
            process.join()
            here.close()

    def wait(self, seconds: float | None) -> Event | None:
        """The next message of a process, or its death; None if none comes in ``seconds``."""
        ready = connection.wait([here for _, here in self._workers.values()], seconds)
        for slot, (process, here) in self._workers.items():
            if here in ready:
                try:
                    return Event(slot, *here.recv())
                except (EOFError, OSError):
                    process.join()
                    return Event(slot, "lost", _ending(process.exitcode or 0))
        return None

    def close(self) -> None:
        """Kill all processes."""
        for slot in list(self._workers):
            self.stop(slot)


def _ending(code: int) -> str:
    """How a process ended, by its exit code."""
    if code >= 0:
        return f"its process ended with code {code}"
    return f"its process was killed by {signal.Signals(-code).name}"


def _serve(there: Connection[Any, Any], device: str, threads: int) -> None:
    """Be a worker, until this process is killed or the other one has ended."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # only the main process handles Ctrl-C
    os.dup2(2, 1)  # what libraries print is no output of the command
    os.environ["OMP_NUM_THREADS"] = str(threads)  # before torch is imported
    with suppress(EOFError, ConnectionError):  # that the other process has ended
        try:
            load_extensions()  # before what imports them in the middle of its own import
            worker = there.recv().worker(device)
        except (ValueError, OSError) as error:
            there.send(("refused", first_line(error)))
            return
        except (RuntimeError, MemoryError) as error:
            if not (out_of_memory(error) or device_failed(error)):
                raise
            there.send(("lost", first_line(error)))
            return
        there.send(("ready", None))
        with apart_from_garbage():
            while True:
                there.send(perform(worker, there.recv()))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)

"""Workers that are processes of this machine."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import IO, Any

from asvit.executors.base import Task, Work
from asvit.executors.pool import Event
from asvit.executors.threads import cores


class Processes:
    """One process for each device; each ends with this one, however that ends.

    Not a pool of the standard library: those lose every task when a worker dies, cannot take a
    task from one that hangs, import the caller's script anew, and outlive a caller that is killed.

    Args:
        work: What each worker is made of.
        devices: Where each computes; the same may be named several times.
    """

    def __init__(self, work: Work, devices: Sequence[str]) -> None:
        from safetensors.numpy import save

        self._arrays = save(dict(work.arrays))
        self._work = {"factory": work.factory, "settings": work.settings}
        self._devices = tuple(devices)
        self._processes: dict[int, _Process] = {}
        self._messages: queue.SimpleQueue[tuple[_Process, str]] = queue.SimpleQueue()

    @property
    def places(self) -> int:
        """One for each device."""
        return len(self._devices)

    def start(self, place: int) -> None:
        """Start a process; it imports what it needs while this one goes on."""
        process = _Process(place, _environment(len(self._devices)), self._messages)
        self._processes[place] = process
        head = {**self._work, "device": self._devices[place], "bytes": len(self._arrays)}
        process.write(_line(head) + self._arrays)

    def send(self, place: int, task: Task) -> None:
        """Write a task to the process."""
        self._processes[place].write(_line(task))

    def stop(self, place: int) -> None:
        """Kill the process."""
        self._processes.pop(place).end()

    def wait(self, seconds: float | None) -> Event | None:
        """What the next process tells, or that it has ended."""
        while True:
            try:
                process, line = self._messages.get(timeout=seconds)
            except queue.Empty:
                return None
            if self._processes.get(process.place) is not process:
                continue  # it was stopped after it had said this
            if line.endswith("\n"):
                message = json.loads(line)
                kind = message.pop("kind")
                return Event(process.place, kind, message.get("reason", message))
            del self._processes[process.place]
            return Event(process.place, "died", process.end())

    def close(self) -> None:
        """Kill all processes."""
        for place in list(self._processes):
            self.stop(place)


class _Process:
    """A process, and the thread that reads what it tells."""

    def __init__(
        self,
        place: int,
        environment: dict[str, str],
        messages: queue.SimpleQueue[tuple[_Process, str]],
    ) -> None:
        self.place = place
        self._popen = subprocess.Popen(
            [sys.executable, "-m", "asvit.executors.serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,  # Ctrl-C is for the process that has the run
        )
        if self._popen.stdin is None or self._popen.stdout is None:
            raise OSError("a worker has no pipes")
        self._input: IO[bytes] = self._popen.stdin
        self._output: IO[bytes] = self._popen.stdout
        self._reader = threading.Thread(target=self._read, args=(messages,), daemon=True)
        self._reader.start()

    def write(self, content: bytes) -> None:
        """Tell the process something; if it has ended, its thread says so."""
        with suppress(OSError):
            self._input.write(content)
            self._input.flush()

    def end(self) -> str:
        """Kill the process if it is running, and say how it ended."""
        self._popen.kill()
        code = self._popen.wait()
        self._reader.join()
        with suppress(OSError):
            self._input.close()
        self._output.close()
        if code >= 0:
            return f"its process ended with code {code}"
        return f"its process was killed by {signal.Signals(-code).name}"

    def _read(self, messages: queue.SimpleQueue[tuple[_Process, str]]) -> None:
        for line in self._output:
            messages.put((self, line.decode()))
        messages.put((self, ""))


def _line(content: Any) -> bytes:
    return json.dumps(content).encode() + b"\n"


def _environment(processes: int) -> dict[str, str]:
    """The environment of a worker: it has its share of the cores."""
    share = str(max(1, cores() // processes))
    return {**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", share)}

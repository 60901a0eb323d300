"""Workers as processes of this machine; ``python -m asvit.executors.processes`` is one worker.

A process reads its device, its work and then tasks from stdin, and writes what it has to tell to
stdout; a message is a pickle after its length. It exits when stdin closes, so it never outlives
its parent, even if that is killed; on Windows, it ends its task first.
"""

from __future__ import annotations

import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import IO

from asvit.core.devices import device_failed
from asvit.core.processes import module_process
from asvit.executors.base import (
    Event,
    Message,
    Task,
    Work,
    Worker,
    apart_from_garbage,
    cores,
    perform,
)
from proxies.messages import first_line, out_of_memory

_LENGTH = 8  # bytes of the length of a message


class ProcessBackend:
    """One process per device. The processes end with this one, even if it is killed.

    The pools of the standard library do not fit: they lose every task when a worker dies, cannot
    stop a hanging task, import the caller's script again, and outlive a killed caller.
    """

    def __init__(self, work: Work, devices: Sequence[str]) -> None:
        self._work = pickle.dumps(work)
        self._devices = tuple(devices)
        self._processes: dict[int, _Process] = {}
        self._messages: queue.SimpleQueue[tuple[_Process, bytes]] = queue.SimpleQueue()

    @property
    def slots(self) -> int:
        """One for each device."""
        return len(self._devices)

    def start(self, slot: int) -> None:
        """Start a process, without waiting for its imports."""
        share = str(max(1, cores() // len(self._devices)))  # of the cores, equal ones
        process = _Process(slot, share, self._messages)
        self._processes[slot] = process
        process.write(pickle.dumps(self._devices[slot]))
        process.write(self._work)

    def send(self, slot: int, task: Task) -> None:
        """Write a task to the process."""
        self._processes[slot].write(pickle.dumps(task))

    def stop(self, slot: int) -> None:
        """Kill the process; it causes no further events."""
        self._processes.pop(slot).end()

    def wait(self, seconds: float | None) -> Event | None:
        """The next message of a process, or its death; None if none comes in ``seconds``."""
        while True:
            try:
                process, message = self._messages.get(timeout=seconds)
            except queue.Empty:
                return None
            if self._processes.get(process.slot) is not process:
                continue  # sent before the process was stopped
            if message:
                return Event(process.slot, *pickle.loads(message))  # of a process of ours
            del self._processes[process.slot]
            return Event(process.slot, "died", process.end())

    def close(self) -> None:
        """Kill all processes."""
        for slot in list(self._processes):
            self.stop(slot)


class _Process:
    """A worker process, and a thread that reads its messages."""

    def __init__(
        self,
        slot: int,
        threads: str,
        messages: queue.SimpleQueue[tuple[_Process, bytes]],
    ) -> None:
        self.slot = slot
        words, environment = module_process("asvit.executors.processes")
        self._popen = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={"OMP_NUM_THREADS": threads, **environment},
            start_new_session=True,  # only the main process handles Ctrl-C
        )
        if self._popen.stdin is None or self._popen.stdout is None:
            raise OSError("a worker has no pipes")
        self._input: IO[bytes] = self._popen.stdin
        self._output: IO[bytes] = self._popen.stdout
        self._reader = threading.Thread(target=self._read, args=(messages,), daemon=True)
        self._reader.start()

    def write(self, message: bytes) -> None:
        """Write to the process; if it is dead, the reader thread reports that."""
        with suppress(OSError):
            _write(self._input, message)

    def end(self) -> str:
        """Kill the process if it still runs, and return how it ended."""
        self._popen.kill()
        code = self._popen.wait()
        self._reader.join()
        with suppress(OSError):
            self._input.close()
        self._output.close()
        if code >= 0:
            return f"its process ended with code {code}"
        return f"its process was killed by {signal.Signals(-code).name}"

    def _read(self, messages: queue.SimpleQueue[tuple[_Process, bytes]]) -> None:
        try:
            for message in _messages(self._output):
                messages.put((self, message))
        finally:  # also where something else than a message came, whose length has no room
            messages.put((self, b""))


def _write(stream: IO[bytes], message: bytes) -> None:
    """Write a message: its length, and itself."""
    stream.write(len(message).to_bytes(_LENGTH, "big"))
    stream.write(message)
    stream.flush()


def _messages(stream: IO[bytes]) -> Iterator[bytes]:
    """The messages that come on a stream; one that is cut short by its end is none."""
    while length := int.from_bytes(stream.read(_LENGTH), "big"):
        message = stream.read(length)
        if len(message) < length:
            return
        yield message


def _serve() -> None:
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # keeps what libraries print out of the answers
    # On Windows, libraries cannot be loaded while a thread waits for a pipe.
    content = _read() if sys.platform == "win32" else _read_ahead()

    def tell(message: Message) -> None:
        _write(answers, pickle.dumps(message))

    try:
        device = pickle.loads(next(content))
        worker: Worker = pickle.loads(next(content)).worker(device)
    except (ValueError, OSError) as error:
        tell(("refused", first_line(error)))
        return
    except (RuntimeError, MemoryError) as error:
        if not (out_of_memory(error) or device_failed(error)):
            raise
        tell(("lost", first_line(error)))
        return
    tell(("ready", None))
    with apart_from_garbage():
        for task in content:
            tell(perform(worker, pickle.loads(task)))


def _read() -> Iterator[bytes]:
    """The messages on stdin, as they come; the process ends with them."""
    yield from _messages(sys.stdin.buffer)
    os._exit(0)


def _read_ahead() -> Iterator[bytes]:
    """As :func:`_read`, in a thread, so that the process exits even in the middle of a task."""
    content: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def read() -> None:
        for message in _read():
            content.put(message)

    threading.Thread(target=read, daemon=True).start()
    return iter(content.get, b"")


if __name__ == "__main__":
    _serve()

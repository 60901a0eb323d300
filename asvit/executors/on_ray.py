"""Workers as actors on a Ray cluster; the only module that imports Ray."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import Any
from unittest.mock import patch

from asvit.core.processes import imports_here
from asvit.core.versions import changed_versions, missing, versions
from asvit.executors.base import Event, Message, Task, Work, perform
from proxies.messages import first_line

_CONNECT_SECONDS = 10.0
_LIBRARIES = ("asvit", "torch", "timm", "numpy")  # that results depend on


class RayBackend:
    """One actor for each core, or on ``"cuda"`` for each GPU, of the cluster; at most ``jobs``.

    Every node needs the same version of asvit as the driver, and of torch, timm and numpy; a run
    on one with others ends. The driver itself needs no GPU.
    """

    def __init__(self, work: Work, address: str, device: str, *, jobs: int | None = None) -> None:
        self._actors: dict[int, Any] = {}
        self._pending: dict[Any, int] = {}  # pending future -> slot
        kind = "GPU" if device.startswith("cuda") else "CPU"
        with ExitStack() as stack:
            self._ray = stack.enter_context(_joined(address))
            room = int(self._ray.cluster_resources().get(kind, 0))
            if not room:
                raise ConnectionError(f"the Ray cluster at {address} has no {kind}")
            self.slots = min(jobs or room, room)
            self._device = "cuda" if kind == "GPU" else device
            share = {"num_cpus": 0, "num_gpus": 1} if kind == "GPU" else {"num_cpus": 1}
            self._class = self._ray.remote(**share, max_restarts=0)(_Actor)
            self._work = self._ray.put(work)
            self._stack = stack.pop_all()

    def start(self, slot: int) -> None:
        """Request an actor; it is ready once the cluster has room for it."""
        self._actors[slot] = self._class.remote(self._work, self._device, versions())
        self._pending[self._actors[slot].ready.remote()] = slot

    def send(self, slot: int, task: Task) -> None:
        """Send the actor a task."""
        self._pending[self._actors[slot].perform.remote(task)] = slot

    def stop(self, slot: int) -> None:
        """Kill the actor, if it is there; it causes no further events."""
        self._pending = {future: n for future, n in self._pending.items() if n != slot}
        if slot in self._actors:
            self._ray.kill(self._actors.pop(slot))

    def wait(self, seconds: float | None) -> Event | None:
        """The next message of an actor, or its death; None if none comes in ``seconds``."""
        done, _ = self._ray.wait(list(self._pending), num_returns=1, timeout=seconds)
        if not done:
            return None
        slot = self._pending.pop(done[0])
        try:
            return Event(slot, *self._ray.get(done[0]))
        except self._ray.exceptions.RayError as error:
            return Event(slot, "lost", f"its actor is gone: {first_line(error)}")

    def close(self) -> None:
        """Kill all actors, and disconnect if this backend connected."""
        for slot in list(self._actors):
            self.stop(slot)
        self._stack.close()


class _Actor:
    """An actor that holds a worker."""

    def __init__(self, work: Work, device: str, drivers: dict[str, str]) -> None:
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        self._state: Message = "ready", None
        try:
            if changed := changed_versions(drivers, versions(), _LIBRARIES, "there"):
                raise ValueError(
                    f"the worker on {socket.gethostname()} has other versions than this process: "
                    f"{changed}; install the same ones everywhere"
                )
            self._worker = work.worker(device)
        except (ValueError, OSError) as error:
            self._state = "refused", first_line(error)

    def ready(self) -> Message:
        """Report whether the worker could be constructed."""
        return self._state

    def perform(self, task: Task) -> Message:
        """Run a task."""
        return perform(self._worker, task)


def cluster_resources(address: str) -> Mapping[str, float]:
    """What a cluster has, by Ray's names: ``GPU``, ``accelerator_type:H100``, ..."""
    with _joined(address) as ray:
        return dict(ray.cluster_resources())


@contextmanager
def _joined(address: str) -> Iterator[Any]:
    """Ray, connected to a cluster; it is left in the end unless this process was in one before."""
    try:
        ray: Any = import_module("ray")
    except ImportError as error:
        raise missing("--ray", "ray", "ray") from error
    if ray.is_initialized():
        yield ray
        return
    _connect(ray, address)
    try:
        yield ray
    finally:
        ray.shutdown()


def _connect(ray: Any, address: str) -> None:
    host, colon, port = address.rpartition(":")
    jobs = ray.job_config.JobConfig
    try:
        if colon and port.isdecimal() and "/" not in host:
            # Ray itself would retry for minutes.
            socket.create_connection((host, int(port)), _CONNECT_SECONDS).close()
        # Ray lets workers import from the working directory unless it thinks that they have
        # another one; from there they may import what this process may.
        with patch.object(jobs, "_runtime_env_has_working_dir", lambda _: not imports_here()):
            ray.init(address=address, log_to_driver=False, logging_level="error")
    except (OSError, OverflowError, ValueError, RuntimeError) as error:
        raise ConnectionError(
            f"cannot join the Ray cluster at {address}: {first_line(error)}; "
            "start one with 'ray start --head'"
        ) from error

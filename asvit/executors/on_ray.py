"""Workers as actors on a Ray cluster; the only module that imports Ray."""

from __future__ import annotations

import os
import socket
from importlib import import_module
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from asvit.core.processes import imports_here
from asvit.core.versions import changed_versions, missing, versions
from asvit.executors.base import Event, Task, Work, perform
from proxies.messages import first_line

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_CONNECT_SECONDS = 10.0
_LIBRARIES = ("asvit", "torch", "timm", "numpy")  # that results depend on


class RayBackend:
    """One actor per worker, placed by the cluster; on ``"cuda"`` each has a GPU, or a share of it.

    There is one per core, or per GPU, of the cluster unless ``jobs`` says how many. Every node
    needs the same version of asvit as the driver, and of torch, timm and numpy; a run on one with
    others ends.
    """

    def __init__(self, work: Work, address: str, device: str, *, jobs: int | None = None) -> None:
        try:
            ray: Any = import_module("ray")
        except ImportError as error:
            raise missing("--ray", "ray", "ray") from error
        self._ray = ray
        self._joined = not ray.is_initialized()
        if self._joined:
            _connect(ray, address)
        kind = "GPU" if device.startswith("cuda") else "CPU"
        room = int(ray.cluster_resources().get(kind, 0))
        if not room:
            raise ConnectionError(f"the Ray cluster at {address} has no {kind}")
        self.slots = jobs or room
        self._device = "cuda" if kind == "GPU" else device
        share = {"num_gpus": min(1.0, room / self.slots)} if kind == "GPU" else {"num_cpus": 1}
        self._class = ray.remote(**share, max_restarts=0)(_Actor)
        self._work = ray.put((work.factory, dict(work.settings), dict(work.arrays)))
        self._actors: dict[int, Any] = {}
        self._pending: dict[Any, int] = {}  # pending future -> slot

    def start(self, slot: int) -> None:
        """Request an actor; it is ready once the cluster has room for it."""
        actor = self._class.remote(self._work, self._device, versions())
        self._actors[slot] = actor
        self._pending[actor.ready.remote()] = slot

    def send(self, slot: int, task: Task) -> None:
        """Send the actor a task."""
        self._pending[self._actors[slot].perform.remote(dict(task))] = slot

    def stop(self, slot: int) -> None:
        """Kill the actor; it causes no further events."""
        self._pending = {future: n for future, n in self._pending.items() if n != slot}
        self._ray.kill(self._actors.pop(slot))

    def wait(self, seconds: float | None) -> Event | None:
        """The next message of an actor, or its death; None if none comes in ``seconds``."""
        done, _ = self._ray.wait(list(self._pending), num_returns=1, timeout=seconds)
        if not done:
            return None
        slot = self._pending.pop(done[0])
        try:
            message: dict[str, Any] = dict(self._ray.get(done[0]))
        except self._ray.exceptions.RayError as error:
            self.stop(slot)  # it may only be unreachable for now
            return Event(slot, "died", f"its actor is gone: {first_line(error)}")
        return Event(slot, message.pop("kind"), message.get("reason", message))

    def close(self) -> None:
        """Kill all actors, and disconnect if this backend connected."""
        for slot in list(self._actors):
            self.stop(slot)
        if self._joined:
            self._ray.shutdown()


class _Actor:
    """An actor that holds a worker."""

    def __init__(
        self,
        work: tuple[str, dict[str, Any], dict[str, NDArray[np.generic]]],
        device: str,
        drivers: dict[str, str],
    ) -> None:
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        self._state = {"kind": "ready"}
        try:
            if changed := changed_versions(drivers, versions(), _LIBRARIES, "there"):
                raise ValueError(
                    f"the worker on {socket.gethostname()} has other versions than this process: "
                    f"{changed}; install the same ones everywhere"
                )
            self._worker = Work(*work).worker(device)
        except (ValueError, OSError) as error:
            self._state = {"kind": "refused", "reason": first_line(error)}

    def ready(self) -> dict[str, str]:
        """Report whether the worker could be constructed."""
        return self._state

    def perform(self, task: Task) -> dict[str, Any]:
        """Run a task."""
        return {"kind": "answered", **perform(self._worker, task)}


def _connect(ray: Any, address: str) -> None:
    host, colon, port = address.rpartition(":")
    try:
        if colon and port.isdecimal() and "/" not in host:
            # Ray itself would retry for minutes.
            socket.create_connection((host, int(port)), _CONNECT_SECONDS).close()
        with (
            # Ray shows a driver's command line to all of the cluster; a password may be in it.
            patch.object(ray._private.utils, "get_entrypoint_name", lambda: "asvit", create=True),
            # Ray lets workers import from the working directory unless it thinks that they have
            # another one; from there they may import what this process may.
            patch.object(
                ray.job_config.JobConfig,
                "_runtime_env_has_working_dir",
                lambda _: not imports_here(),
            ),
        ):
            ray.init(address=address, log_to_driver=False, logging_level="error")
    except (OSError, OverflowError, ValueError, RuntimeError) as error:
        raise ConnectionError(
            f"cannot join the Ray cluster at {address}: {first_line(error)}; "
            "start one with 'ray start --head'"
        ) from error

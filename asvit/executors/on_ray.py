"""Workers that are actors of a Ray cluster; the only file that knows Ray."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from asvit.executors.base import Task, Work, perform
from asvit.executors.pool import Event
from proxies.messages import first_line

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_REACH_SECONDS = 10.0


class RayActors:
    """One actor for each worker; where each lives is up to the cluster.

    Every node needs asvit installed, as the driver has it.

    Args:
        work: What each worker is made of.
        address: Of the cluster; ``"auto"`` for the one that is running here.
        device: Where they compute: ``"cpu"``, or ``"cuda"`` for one GPU each (shared where there
            are more workers than GPUs).
        jobs: Workers; None for one on each core, or each GPU, of the cluster.

    Raises:
        ImportError: If Ray is not installed.
        ConnectionError: If there is no cluster at the address.
    """

    def __init__(self, work: Work, address: str, device: str, *, jobs: int | None = None) -> None:
        self._ray = ray = _import_ray()
        self._ours = not ray.is_initialized()
        if self._ours:
            _connect(ray, address)
        kind = "GPU" if device.startswith("cuda") else "CPU"
        room = int(ray.cluster_resources().get(kind, 0))
        if not room:
            raise ConnectionError(f"the Ray cluster at {address} has no {kind}")
        self.places = jobs or room
        self._device = "cuda" if kind == "GPU" else device
        share = {"num_gpus": min(1.0, room / self.places)} if kind == "GPU" else {"num_cpus": 1}
        self._class = ray.remote(**share, max_restarts=0)(_Actor)
        self._work = ray.put((work.factory, dict(work.settings), dict(work.arrays)))
        self._actors: dict[int, Any] = {}
        self._heard: dict[Any, int] = {}  # what is waited for: future -> place

    def start(self, place: int) -> None:
        """Ask for an actor; it is ready once the cluster has room for it."""
        actor = self._class.remote(self._work, self._device)
        self._actors[place] = actor
        self._heard[actor.ready.remote()] = place

    def send(self, place: int, task: Task) -> None:
        """Give the actor a task."""
        self._heard[self._actors[place].perform.remote(dict(task))] = place

    def stop(self, place: int) -> None:
        """Kill the actor."""
        self._forget(place)
        self._ray.kill(self._actors.pop(place))

    def wait(self, seconds: float | None) -> Event | None:
        """What the next actor tells, or that it has died."""
        done, _ = self._ray.wait(list(self._heard), num_returns=1, timeout=seconds)
        if not done:
            return None
        return self._event(self._heard.pop(done[0]), done[0])

    def close(self) -> None:
        """Kill all actors, and leave the cluster if this run had joined it."""
        for place in list(self._actors):
            self.stop(place)
        if self._ours:
            self._ray.shutdown()

    def _event(self, place: int, future: Any) -> Event:
        try:
            message: Mapping[str, Any] = self._ray.get(future)
        except self._ray.exceptions.RayError as error:
            self.stop(place)  # it may be alive, and out of reach for a while
            return Event(place, "died", f"its actor is gone: {first_line(error)}")
        content = dict(message)
        return Event(place, content.pop("kind"), content.get("reason", content))

    def _forget(self, place: int) -> None:
        self._heard = {future: at for future, at in self._heard.items() if at != place}


class _Actor:
    """A worker on the cluster."""

    def __init__(
        self,
        work: tuple[str, dict[str, Any], dict[str, NDArray[np.generic]]],
        device: str,
    ) -> None:
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        self._refused = ""
        try:
            self._worker = Work(*work).worker(device)
        except (ValueError, OSError) as error:
            self._refused = first_line(error)

    def ready(self) -> dict[str, Any]:
        """Say whether the worker could be made."""
        if self._refused:
            return {"kind": "refused", "reason": self._refused}
        return {"kind": "ready"}

    def perform(self, task: Task) -> dict[str, Any]:
        """Do a task."""
        return {"kind": "answered", **perform(self._worker, task)}


def _import_ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise ImportError("--ray needs ray: pip install 'asvit[ray]'") from error
    return ray


def _connect(ray: Any, address: str) -> None:
    host, colon, port = address.rpartition(":")
    try:
        if colon and port.isdecimal() and "/" not in host:
            # Ray itself would try for minutes.
            socket.create_connection((host, int(port)), _REACH_SECONDS).close()
        ray.init(address=address, log_to_driver=False, logging_level="error")
    except (OSError, OverflowError, ValueError, RuntimeError) as error:
        raise ConnectionError(
            f"cannot join the Ray cluster at {address}: {first_line(error)}; "
            "start one with 'ray start --head'"
        ) from error

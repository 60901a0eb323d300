"""Workers as actors on a Ray cluster; the only module that imports Ray."""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import Any
from unittest.mock import patch

from asvit.core.processes import imports_here
from asvit.core.versions import changed_versions, missing, versions
from asvit.executors.base import Event, Message, Task, Work, apart_from_garbage, perform
from asvit.executors.placement import in_turn
from proxies.messages import first_line

_CONNECT_SECONDS = 10.0
_LIBRARIES = ("asvit", "torch", "timm", "numpy")  # that results depend on


class RayBackend:
    """One actor per worker; on ``"cuda"`` each has a GPU, or an equal share of one.

    There is one per core, or per GPU, of the cluster unless ``jobs`` says how many. Every node
    needs the same version of asvit as the driver, and of torch, timm and numpy; a run on one with
    others ends. The driver itself needs no GPU.
    """

    def __init__(self, work: Work, address: str, device: str, *, jobs: int | None = None) -> None:
        self._actors: dict[int, Any] = {}
        self._pending: dict[Any, int] = {}  # pending future -> slot
        self._groups: dict[int, Any] = {}  # GPU -> what reserves it
        kind = "GPU" if device.startswith("cuda") else "CPU"
        with ExitStack() as stack:
            self._ray = stack.enter_context(_joined(address))
            room = int(self._ray.cluster_resources().get(kind, 0))
            if not room:
                raise ConnectionError(f"the Ray cluster at {address} has no {kind}")
            self.slots = jobs or room
            self._device = "cuda" if kind == "GPU" else device
            self._gpus = in_turn(range(room), self.slots) if kind == "GPU" else ()
            self._class = self._ray.remote(**_share(self._gpus), max_restarts=0)(_Actor)
            self._work = self._ray.put(work)
            self._stack = stack.pop_all()

    def start(self, slot: int) -> None:
        """Request an actor; it is ready once the cluster has room for it."""
        placed = self._class.options(**self._placed(slot)) if self._gpus else self._class
        actor = placed.remote(self._work, self._device, versions())
        self._actors[slot] = actor
        self._pending[actor.ready.remote()] = slot

    def send(self, slot: int, task: Task) -> None:
        """Send the actor a task."""
        self._pending[self._actors[slot].perform.remote(task)] = slot

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
            return Event(slot, *self._ray.get(done[0]))
        except self._ray.exceptions.RayError as error:
            self.stop(slot)  # it may only be unreachable for now
            return Event(slot, "died", f"its actor is gone: {first_line(error)}")

    def close(self) -> None:
        """Kill all actors, and disconnect if this backend connected."""
        for slot in list(self._actors):
            self.stop(slot)
        for group in self._groups.values():
            self._ray.util.remove_placement_group(group)
        self._stack.close()

    def _placed(self, slot: int) -> dict[str, Any]:
        """Where the actor of a slot goes: Ray itself would fill one GPU before the next one."""
        gpu, util = self._gpus[slot], self._ray.util
        if gpu not in self._groups:
            self._groups[gpu] = util.placement_group([{"GPU": 1}])
        strategy = util.scheduling_strategies.PlacementGroupSchedulingStrategy
        return {"scheduling_strategy": strategy(self._groups[gpu])}


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
            self._stack = ExitStack()  # open as long as the actor lives
            self._stack.enter_context(apart_from_garbage())
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


def _share(gpus: Sequence[int]) -> dict[str, float]:
    """What each actor reserves: a core, or the share of a GPU that lets all of its actors start.

    ``gpus`` has the GPU of each actor. Ray counts in ten-thousandths; rounded up, the last of six
    would find no room.
    """
    if not gpus:
        return {"num_cpus": 1}
    return {"num_cpus": 0, "num_gpus": 10_000 // max(Counter(gpus).values()) / 10_000}


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

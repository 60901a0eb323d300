"""A pool of workers: tasks in, answers out as they end; a lost worker costs its own task alone."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from asvit.executors.base import Answer, Task, Work, Workers
from asvit.executors.placement import place

if TYPE_CHECKING:
    from asvit.executors.on_ray import RayBackend
    from asvit.executors.processes import ProcessBackend

    # Starts, feeds and stops workers; each of its slots holds at most one.
    Backend = RayBackend | ProcessBackend

logger = logging.getLogger(__name__)

RETRIES = 2  # of a task whose worker died, hung or ran out of memory: one beside others, one alone
_START_SECONDS = 600.0  # a worker that is not ready by then is stopped
_MAX_FAILED_STARTS = 3  # in a row, after which a slot is closed


@contextmanager
def open_pool(workers: Workers, work: Work, device: str) -> Iterator[Pool]:
    """Open a pool of workers for ``work``; leaving the block stops them.

    Local workers are placed by :func:`asvit.executors.placement.place`.
    """
    backend: Backend
    if workers.ray is not None:
        from asvit.executors.on_ray import RayBackend

        backend = RayBackend(work, workers.ray, device, jobs=workers.jobs)
    else:
        from asvit.executors.processes import ProcessBackend

        backend = ProcessBackend(work, place([device], workers.jobs or 1))
    with closing(backend):
        yield Pool(backend, timeout=workers.timeout)


@dataclass
class _Slot:
    """A place for a worker, and the state of the one in it."""

    number: int
    state: Literal["empty", "starting", "idle", "busy"] = "empty"
    since: float = 0.0  # when that began, in seconds of time.monotonic
    task: int = -1  # while it is busy
    failed_starts: int = 0  # in a row: workers that died before they were ready

    @property
    def usable(self) -> bool:
        """Whether workers start in it."""
        return self.failed_starts < _MAX_FAILED_STARTS

    def enter(self, state: Literal["empty", "starting", "idle", "busy"], task: int = -1) -> None:
        """Change the state."""
        self.state, self.task, self.since = state, task, time.monotonic()


class Pool:
    """The workers of a backend, which run tasks in parallel.

    After ``timeout`` seconds, if given, a task is taken from its worker. Tasks that lost their
    worker are tried again after the others; a last time in another slot and each alone, as it may
    have been the others that took the memory.
    """

    def __init__(self, backend: Backend, *, timeout: float | None = None) -> None:
        self._backend, self._timeout = backend, timeout
        self._slots = [_Slot(number) for number in range(backend.slots)]
        self._lost: dict[int, tuple[int, str]] = {}  # task -> the slot where, and why

    @property
    def workers(self) -> int:
        """Largest number of workers at the same time."""
        return len(self._slots)

    def run(self, tasks: Sequence[Task]) -> Generator[tuple[int, Answer]]:
        """Run every task; closing the generator cancels those that are not done.

        Yields:
            The index of each task in ``tasks`` with its answer, in order of completion.

        Raises:
            ValueError: If a worker refused its settings.
            RuntimeError: If a worker raised an unexpected exception; holds its traceback.
            ChildProcessError: If no worker could be started.
        """
        self._lost = {}
        yield from self._round(tasks, range(len(tasks)), self._slots)
        yield from self._round(tasks, self._again(1), self._slots)
        for task, slot in self._again(RETRIES).items():
            for one in self._slots:  # torch keeps memory of a GPU that a process has used
                self._stop(one)
            others = [one for one in self._slots if one.usable and one.number != slot]
            yield from self._round(tasks, [task], (others or self._slots)[:1])
        for task, (_, why) in self._lost.items():
            yield task, Answer(failure=f"given up after {RETRIES + 1} tries: {why}")

    def _again(self, retry: int) -> dict[int, int]:
        """The lost tasks, which are tried again, and the slot where each was lost."""
        lost, self._lost = self._lost, {}
        told = "a worker was lost (%s); its task is tried again, %d of %d"
        for _, why in lost.values():
            logger.warning(told, why, retry, RETRIES)
        return {task: slot for task, (slot, _) in lost.items()}

    def _round(
        self, tasks: Sequence[Task], numbers: Iterable[int], slots: Sequence[_Slot]
    ) -> Iterator[tuple[int, Answer]]:
        """Run some tasks once in some slots; those that lose their worker are noted."""
        waiting, ended = deque(numbers), list[tuple[int, Answer]]()
        try:
            while waiting or any(slot.state == "busy" for slot in slots):
                for slot in slots:
                    if slot.state == "idle" and waiting:
                        slot.enter("busy", waiting.popleft())
                        self._backend.send(slot.number, tasks[slot.task])
                missing = len(waiting) - sum(slot.state == "starting" for slot in slots)
                for slot in [one for one in slots if one.state == "empty" and one.usable]:
                    if missing > 0:
                        self._backend.start(slot.number)
                        slot.enter("starting")
                        missing -= 1
                yield from ended  # after that: the caller may take its time with an answer
                ended = self._next()
            yield from ended
        finally:
            for slot in slots:
                if slot.state == "busy":
                    self._stop(slot)

    def _next(self) -> list[tuple[int, Answer]]:
        """Wait for the next event; returns the task that was answered, if any."""
        limits = {slot.number: self._limit(slot) for slot in self._slots}
        now = time.monotonic()
        ends = [self._slots[number].since + limit for number, limit in limits.items() if limit]
        event = self._backend.wait(max(0.0, min(ends) - now) if ends else None)
        if event is None:
            for slot in self._slots:
                limit = limits[slot.number]
                if limit is not None and time.monotonic() >= slot.since + limit:
                    self._worker_lost(slot, f"took longer than {limit:g} s")
            return []
        slot = self._slots[event.slot]
        if event.kind == "refused":
            raise ValueError(event.content)
        if event.kind == "bug":
            raise RuntimeError(f"a worker failed:\n{event.content}")
        if event.kind == "lost":
            self._worker_lost(slot, event.content)
            return []
        task, slot.failed_starts = slot.task, 0
        slot.enter("idle")
        return [(task, Answer(event.content))] if event.kind == "answered" else []

    def _limit(self, slot: _Slot) -> float | None:
        """How many seconds it may be in its state."""
        return {"starting": _START_SECONDS, "busy": self._timeout}.get(slot.state)

    def _worker_lost(self, slot: _Slot, why: str) -> None:
        """Empty the slot of a lost worker; its task, if it had one, is lost."""
        if slot.state == "starting":
            slot.failed_starts += 1
            if not slot.usable:
                logger.warning("worker %d does not start: %s", slot.number + 1, why)
            if not any(one.usable for one in self._slots):
                raise ChildProcessError(f"no worker could be started: {why}")
        elif slot.state == "busy":
            self._lost[slot.task] = slot.number, why
        self._stop(slot)

    def _stop(self, slot: _Slot) -> None:
        if slot.state != "empty":
            self._backend.stop(slot.number)
            slot.enter("empty")

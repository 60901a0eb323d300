"""A pool of workers: assigns tasks, and reassigns those of lost workers."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from asvit.executors.base import Answer, Event, Task, Work, Workers
from asvit.executors.placement import place

if TYPE_CHECKING:
    from asvit.executors.on_ray import RayBackend
    from asvit.executors.processes import ProcessBackend

    # Starts, feeds and stops workers; each of its slots holds at most one.
    Backend = RayBackend | ProcessBackend

logger = logging.getLogger(__name__)

RETRIES = 2  # of a task whose worker died, hung or ran out of memory
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
    with closing(Pool(backend, timeout=workers.timeout)) as pool:
        yield pool


@dataclass
class _Slot:
    """A slot and the state of its worker; empty without a worker, and closed once unusable."""

    state: Literal["empty", "starting", "idle", "busy", "closed"] = "empty"
    since: float = 0.0  # when that began, in seconds of time.monotonic
    task: int = -1  # while it is busy
    failed_starts: int = 0  # in a row: workers that died before they were ready

    def enter(self, state: Literal["empty", "starting", "idle", "busy"], task: int = -1) -> None:
        """Change the state."""
        self.state, self.task, self.since = state, task, time.monotonic()


class Pool:
    """The workers of a backend, which run tasks in parallel.

    After ``timeout`` seconds, if given, a task is taken from its worker; it is tried again
    :data:`RETRIES` times.
    """

    def __init__(self, backend: Backend, *, timeout: float | None = None) -> None:
        self._backend = backend
        self._timeout = timeout
        self._slots = [_Slot() for _ in range(backend.slots)]
        self._begin(0)

    def _begin(self, tasks: int) -> None:
        self._unfinished = tasks
        self._waiting = deque(range(tasks))  # without a worker
        self._failed_in: dict[int, list[int]] = {}  # task -> the slots where it failed

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
        self._begin(len(tasks))
        try:
            self._assign(tasks)
            while self._unfinished:
                ended = self._handle(self._backend.wait(self._until_deadline()))
                self._unfinished -= len(ended)
                self._assign(tasks)  # first: the caller may take its time with an answer
                yield from ended
        finally:
            for number, slot in enumerate(self._slots):
                if slot.state == "busy":
                    self._backend.stop(number)
                    slot.enter("empty")

    def close(self) -> None:
        """Stop all workers."""
        self._backend.close()

    def _assign(self, tasks: Sequence[Task]) -> None:
        """Send tasks to idle workers, and start a worker for each task that is left."""
        usable = [n for n, slot in enumerate(self._slots) if slot.state != "closed"]
        for number in usable:
            idle = self._slots[number].state == "idle"
            if not idle or (task := self._next_task(number, usable)) is None:
                continue
            self._waiting.remove(task)
            self._slots[number].enter("busy", task)
            if self._runs_alone(task):
                self._stop_idle()
            self._backend.send(number, tasks[task])
        if self._one_runs_alone:
            return
        missing = len(self._waiting) - sum(self._slots[n].state == "starting" for n in usable)
        for number in usable:
            if missing > 0 and self._slots[number].state == "empty":
                self._backend.start(number)
                self._slots[number].enter("starting")
                missing -= 1

    def _next_task(self, slot: int, usable: Sequence[int]) -> int | None:
        """The next task for a slot; not one that failed there, unless it failed in all slots."""
        if self._one_runs_alone:
            return None
        busy = any(other.state == "busy" for other in self._slots)
        for task in self._waiting:
            failed = self._failed_in.get(task, [])
            waits = busy and self._runs_alone(task)
            if not waits and (slot not in failed or set(usable) <= set(failed)):
                return task
        return None

    def _runs_alone(self, task: int) -> bool:
        """Whether it is a task's last try, during which there is no other worker."""
        return len(self._failed_in.get(task, [])) == RETRIES

    @property
    def _one_runs_alone(self) -> bool:
        """Whether a worker is at such a task."""
        return any(slot.state == "busy" and self._runs_alone(slot.task) for slot in self._slots)

    def _stop_idle(self) -> None:
        """Stop idle workers: torch keeps memory of a GPU for a process that has used it."""
        for number, slot in enumerate(self._slots):
            if slot.state == "idle":
                self._backend.stop(number)
                slot.enter("empty")

    def _until_deadline(self) -> float | None:
        """Seconds until the next worker exceeds its time limit; None if none has a limit."""
        now = time.monotonic()
        ends = [slot.since + limit for slot in self._slots if (limit := self._limit(slot))]
        return max(0.0, min(ends) - now) if ends else None

    def _limit(self, slot: _Slot) -> float | None:
        if slot.state == "starting":
            return _START_SECONDS
        return self._timeout if slot.state == "busy" else None

    def _handle(self, event: Event | None) -> list[tuple[int, Answer]]:
        """Process an event; returns the tasks that it ended."""
        if event is None:
            return self._stop_overdue()
        slot = self._slots[event.slot]
        if event.kind == "refused":
            raise ValueError(event.content)
        if event.kind == "bug":
            raise RuntimeError(f"a worker failed:\n{event.content}")
        if event.kind == "lost":
            self._backend.stop(event.slot)  # frees what it still holds
        if event.kind in {"lost", "died"}:
            return self._worker_lost(event.slot, event.content)
        if event.kind == "ready":
            slot.failed_starts = 0
        task = slot.task
        slot.enter("idle")
        return [(task, Answer(event.content))] if event.kind == "answered" else []

    def _stop_overdue(self) -> list[tuple[int, Answer]]:
        """Stop workers that exceeded their time limit; returns the tasks that this ended."""
        ended = []
        for number, slot in enumerate(self._slots):
            limit = self._limit(slot)
            if limit is not None and time.monotonic() >= slot.since + limit:
                self._backend.stop(number)
                ended += self._worker_lost(number, f"took longer than {limit:g} s")
        return ended

    def _worker_lost(self, number: int, why: str) -> list[tuple[int, Answer]]:
        """Empty the slot of a lost worker; returns its task if that has no retry left."""
        slot = self._slots[number]
        state, task = slot.state, slot.task
        slot.enter("empty")
        if state == "starting":
            slot.failed_starts += 1
            if slot.failed_starts == _MAX_FAILED_STARTS:
                slot.state = "closed"
                logger.warning("worker %d does not start: %s", number + 1, why)
            if all(slot.state == "closed" for slot in self._slots):
                raise ChildProcessError(f"no worker could be started: {why}")
        if state != "busy":
            return []
        self._failed_in.setdefault(task, []).append(number)
        tries = len(self._failed_in[task])
        if tries > RETRIES:
            return [(task, Answer(failure=f"given up after {tries} tries: {why}"))]
        logger.warning(
            "a worker was lost (%s); its task is tried again, %d of %d", why, tries, RETRIES
        )
        self._waiting.appendleft(task)
        return []

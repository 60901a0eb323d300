"""Gives tasks to workers, and what a worker left undone to another one."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

from asvit.executors.base import Answer, Task

logger = logging.getLogger(__name__)

START_SECONDS = 600.0  # a worker that is not ready by then never will be
START_TRIES = 3  # workers in a row that died before they were ready, after which a place is empty


class Event(NamedTuple):
    """What a worker told, or what became of it.

    Attributes:
        place: Where it works, from 0.
        kind: ``"ready"`` for its first task, ``"refused"`` what it was to be made of,
            ``"answered"`` its task, or ``"died"``.
        content: What it told; for ``"died"`` and ``"refused"`` the reason, one line.
    """

    place: int
    kind: Literal["ready", "refused", "answered", "died"]
    content: Any = None


class Backend(Protocol):
    """Where workers live. Every worker has a place; a place has one worker at a time."""

    @property
    def places(self) -> int:
        """Workers at the same time."""

    def start(self, place: int) -> None:
        """Start a worker; it tells when it is ready."""

    def send(self, place: int, task: Task) -> None:
        """Give a ready worker a task."""

    def stop(self, place: int) -> None:
        """End the worker at once; nothing is heard of it any more."""

    def wait(self, seconds: float | None) -> Event | None:
        """The next event; None if there is none within ``seconds``."""

    def close(self) -> None:
        """End all workers and give everything back."""


@dataclass
class _Place:
    """A place and its worker.

    Attributes:
        state: Whether there is a worker, and what it does; nobody works at a ``"given up"`` one.
        since: When that began, in seconds of :func:`time.monotonic`.
        task: Number of its task while it is busy.
        lost: Workers in a row that died before they were ready.
    """

    state: Literal["empty", "starting", "idle", "busy", "given up"] = "empty"
    since: float = 0.0
    task: int = -1
    lost: int = 0

    def becomes(self, state: Literal["empty", "starting", "idle", "busy"], task: int = -1) -> None:
        """Note what the worker does from now on."""
        self.state, self.task, self.since = state, task, time.monotonic()


class Pool:
    """Workers that do tasks side by side.

    Args:
        backend: Where they live.
        timeout: Seconds after which a task is taken from its worker; None for never.
        retries: Times a task is tried again.
    """

    def __init__(
        self, backend: Backend, *, timeout: float | None = None, retries: int = 2
    ) -> None:
        self._backend = backend
        self._timeout = timeout
        self._retries = retries
        self._places = [_Place() for _ in range(backend.places)]

    @property
    def workers(self) -> int:
        """Workers at the same time."""
        return len(self._places)

    def run(self, tasks: Sequence[Task]) -> Generator[tuple[int, Answer]]:
        """Do every task; leaving the iteration takes the rest back.

        Yields:
            The place of each task in ``tasks`` with its answer, as they end.

        Raises:
            ValueError: If a worker refused what it was to be made of.
            RuntimeError: If a worker failed in a way that is a bug; with its traceback.
            ChildProcessError: If no worker could be started.
        """
        backlog = _Backlog(len(tasks), self._retries)
        try:
            self._fill(tasks, backlog)
            while backlog.unfinished:
                ended = self._heed(self._backend.wait(self._patience()), backlog)
                self._fill(tasks, backlog)  # before whoever waits for the answer takes the time
                yield from ended
        finally:
            for number, place in enumerate(self._places):
                if place.state == "busy":
                    self._backend.stop(number)
                    place.becomes("empty")

    def close(self) -> None:
        """End all workers."""
        self._backend.close()

    def _fill(self, tasks: Sequence[Task], backlog: _Backlog) -> None:
        """Give tasks to idle workers, and start as many workers as there are tasks left."""
        usable = [n for n, place in enumerate(self._places) if place.state != "given up"]
        for number in usable:
            place = self._places[number]
            if place.state == "idle":
                task = backlog.take(number, usable)
                if task is not None:
                    self._backend.send(number, tasks[task])
                    place.becomes("busy", task)
        waiting = backlog.waiting - sum(self._places[n].state == "starting" for n in usable)
        for number in usable[:]:
            if waiting > 0 and self._places[number].state == "empty":
                self._backend.start(number)
                self._places[number].becomes("starting")
                waiting -= 1

    def _patience(self) -> float | None:
        """Seconds until the next worker has had its time; None if none has a limit."""
        now = time.monotonic()
        ends = [place.since + limit for place in self._places if (limit := self._limit(place))]
        return max(0.0, min(ends) - now) if ends else None

    def _limit(self, place: _Place) -> float | None:
        if place.state == "starting":
            return START_SECONDS
        return self._timeout if place.state == "busy" else None

    def _heed(self, event: Event | None, backlog: _Backlog) -> list[tuple[int, Answer]]:
        """Take in what happened; the tasks that have ended by it."""
        if event is None:
            return self._end_late_ones(backlog)
        place = self._places[event.place]
        if event.kind == "ready":
            place.lost = 0
            place.becomes("idle")
        elif event.kind == "refused":
            raise ValueError(event.content)
        elif event.kind == "died":
            return self._lose(event.place, event.content, backlog)
        elif "bug" in event.content:
            raise RuntimeError(f"a worker failed:\n{event.content['bug']}")
        elif "memory" in event.content:
            self._backend.stop(event.place)  # what it still holds would be missing elsewhere
            return self._lose(event.place, event.content["memory"], backlog)
        else:
            task = place.task
            place.becomes("idle")
            backlog.unfinished -= 1
            return [(task, Answer(event.content["result"]))]
        return []

    def _end_late_ones(self, backlog: _Backlog) -> list[tuple[int, Answer]]:
        ended = []
        for number, place in enumerate(self._places):
            limit = self._limit(place)
            if limit is not None and time.monotonic() >= place.since + limit:
                self._backend.stop(number)
                ended += self._lose(number, f"took longer than {limit:g} s", backlog)
        return ended

    def _lose(self, number: int, why: str, backlog: _Backlog) -> list[tuple[int, Answer]]:
        """Note that the worker at a place is gone, and what becomes of its task."""
        place = self._places[number]
        state, task = place.state, place.task
        place.becomes("empty")
        if state == "starting":
            place.lost += 1
            if place.lost == START_TRIES:
                place.state = "given up"
                logger.warning("no worker starts at place %d: %s", number + 1, why)
            if all(one.state == "given up" for one in self._places):
                raise ChildProcessError(f"no worker could be started: {why}")
        if state != "busy":
            return []
        answer = backlog.failed(task, number, why)
        return [] if answer is None else [(task, answer)]


class _Backlog:
    """Tasks that wait for a worker, and where they failed.

    Attributes:
        unfinished: Tasks without an answer.
    """

    def __init__(self, tasks: int, retries: int) -> None:
        self.unfinished = tasks
        self._retries = retries
        self._waiting = deque(range(tasks))
        self._failed_at: dict[int, list[int]] = {}

    @property
    def waiting(self) -> int:
        """Tasks that no worker has."""
        return len(self._waiting)

    def take(self, place: int, places: Sequence[int]) -> int | None:
        """The next task for a place; one that failed there only if it failed everywhere."""
        for task in self._waiting:
            failed = self._failed_at.get(task, [])
            if place not in failed or set(places) <= set(failed):
                self._waiting.remove(task)
                return task
        return None

    def failed(self, task: int, place: int, why: str) -> Answer | None:
        """Note a failure; None if the task waits again, else its answer."""
        failed = self._failed_at.setdefault(task, [])
        failed.append(place)
        tries = len(failed)
        if tries > self._retries:
            self.unfinished -= 1
            return Answer(
                failure=f"given up after {tries} {'try' if tries == 1 else 'tries'}: {why}"
            )
        logger.warning(
            "a worker was lost (%s); its task is tried again, %d of %d", why, tries, self._retries
        )
        self._waiting.appendleft(task)
        return None

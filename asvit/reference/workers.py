"""Trainings shared out among processes of this machine, one for each job.

A worker reads what to train on its stdin and writes what came of it on its stdout, a line of JSON
each. It ends as soon as its stdin does, so that none outlives a process that was killed.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Generator, Sequence
from contextlib import suppress
from typing import IO

from asvit.reference.journal import Outcome, Training
from asvit.reference.recipe import BuildSettings

_Answer = tuple[Training, Outcome | Exception]


def train_all(
    trainings: Sequence[Training], settings: BuildSettings, devices: Sequence[str]
) -> Generator[tuple[Training, Outcome]]:
    """Train in one process for each of ``devices``, which may name one several times.

    Args:
        trainings: What to train.
        settings: Settings of the table.
        devices: Where each process trains.

    Yields:
        Each training with its outcome, as they end. Leaving the iteration ends the processes.

    Raises:
        ChildProcessError: If a process ended by itself, as one killed for memory does.
    """
    waiting: queue.SimpleQueue[Training] = queue.SimpleQueue()
    for training in trainings:
        waiting.put(training)
    answers: queue.SimpleQueue[_Answer] = queue.SimpleQueue()
    workers = [_Worker(settings, device) for device in devices[: len(trainings)]]
    threads = [
        threading.Thread(target=_drive, args=(worker, waiting, answers)) for worker in workers
    ]
    try:
        for thread in threads:
            thread.start()
        for _ in trainings:
            training, outcome = answers.get()
            if isinstance(outcome, Exception):
                raise outcome
            yield training, outcome
    finally:
        with suppress(queue.Empty):
            while True:
                waiting.get_nowait()
        for worker in workers:
            worker.kill()
        for thread in threads:
            thread.join()
        for worker in workers:
            worker.close()


def _drive(
    worker: _Worker,
    waiting: queue.SimpleQueue[Training],
    answers: queue.SimpleQueue[_Answer],
) -> None:
    """Give ``worker`` one training after the other until none is waiting."""
    while True:
        try:
            training = waiting.get_nowait()
        except queue.Empty:
            return
        try:
            answers.put((training, worker.train(training)))
        except ChildProcessError as error:
            answers.put((training, error))
            return


class _Worker:
    """A process that trains on ``device``."""

    def __init__(self, settings: BuildSettings, device: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "asvit.reference.workers"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            start_new_session=True,  # Ctrl-C is for the process that has the journal
        )
        self._order = {"settings": settings.to_json(), "device": device}

    def kill(self) -> None:
        """End the process, and with it :meth:`train` in another thread."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """Give back what the process was spoken to through."""
        with suppress(BrokenPipeError), self._process:  # it may have died with an order unread
            pass

    def train(self, training: Training) -> Outcome:
        """Have it train.

        Raises:
            ChildProcessError: If the process has ended.
        """
        answer = ""
        try:
            _write(self._process.stdin, {**self._order, **training._asdict()})
            answer = self._process.stdout.readline() if self._process.stdout else ""
        except OSError:
            pass  # it has ended, and says why on stderr
        if not answer.endswith("\n"):
            raise ChildProcessError(
                f"a training process ended with code {self._process.wait()} at "
                f"{training.architecture}; what was trained is safe, and the same command "
                "continues, with fewer --jobs if memory ran out"
            )
        return Outcome.from_json(json.loads(answer))


def _write(stream: IO[str] | None, content: object) -> None:
    if stream is not None:
        stream.write(json.dumps(content) + "\n")
        stream.flush()


def _serve() -> None:
    """Train what stdin asks for until it ends: what a worker process does."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints is no answer
    orders: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(orders,), daemon=True).start()
    from asvit.reference.trainer import Trainer  # torch; after the thread, which needs no more

    trainer = None
    while True:
        order = json.loads(orders.get())
        if trainer is None:
            trainer = Trainer(BuildSettings.from_json(order["settings"]), order["device"])
        outcome = trainer(Training(order["architecture"], order["seed"]))
        _write(answers, outcome.to_json())


def _read(orders: queue.SimpleQueue[str]) -> None:
    for line in sys.stdin:
        orders.put(line)
    os._exit(0)  # in the middle of a training, too


if __name__ == "__main__":
    _serve()

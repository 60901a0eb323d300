"""Trainings in processes of their own: the same outcomes, and nobody left behind."""

import dataclasses
import os
import signal
import subprocess
import sys

import pytest

from asvit.executors import Answer, Pool
from asvit.reference.journal import Training
from asvit.reference.recipe import make_settings
from asvit.reference.trainer import Trainer
from asvit.reference.workers import train_all

TEXT = "4,2,2|2,1,2|2,1,2|2,1,2|16,8"
SETTINGS = make_settings(
    "quick", n=2, classes=2, train_images=20, test_images=10, steps=2, batch_size=4
)
LONG = dataclasses.replace(SETTINGS, steps=10**6)


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_processes_come_to_what_this_one_does() -> None:
    trainings = [Training(TEXT, seed) for seed in range(3)]
    trainer = Trainer(SETTINGS, "cpu")
    expected = {one: trainer(one) for one in trainings}
    found = dict(train_all(trainings, SETTINGS, ["cpu", "cpu"]))
    assert {one: of.accuracy for one, of in found.items()} == {
        one: of.accuracy for one, of in expected.items()
    }
    assert [found[one].loss for one in trainings] == [expected[one].loss for one in trainings]


def test_processes_that_die_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(ChildProcessError, match=r"no worker could be started: .* with code 1"):
        list(train_all([Training(TEXT, 0)], SETTINGS, ["cpu"]))


def test_a_training_that_no_process_survives_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = [(0, Answer(failure="given up after 3 tries: killed"))]
    monkeypatch.setattr(Pool, "run", lambda *_: (answer for answer in failed))
    with pytest.raises(
        ChildProcessError, match=r"4,2.* was not trained: given up after 3 tries.*fewer --jobs"
    ):
        list(train_all([Training(TEXT, 0)], SETTINGS, ["cpu"]))


def test_leaving_early_ends_the_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []
    popen = subprocess.Popen

    def follow(*arguments: object, **named: object) -> object:
        process = popen(*arguments, **named)  # type: ignore[call-overload]
        started.append(process.pid)
        return process

    monkeypatch.setattr(subprocess, "Popen", follow)

    def interrupted(_signal: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupted)
    try:
        signal.setitimer(signal.ITIMER_REAL, 2.5)
        with pytest.raises(KeyboardInterrupt):
            list(train_all([Training(TEXT, 0), Training(TEXT, 1)], LONG, ["cpu", "cpu"]))
    finally:
        signal.signal(signal.SIGALRM, before)
    assert len(started) == 2
    assert not any(is_running(process) for process in started)

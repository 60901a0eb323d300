"""Trainings within hours: as many epochs as their pace allows, planned again after each."""

import math
from pathlib import Path
from typing import Any

import pytest

from asvit.runs.algorithms.training import Job
from asvit.runs.training import run_training
from asvit.training.checkpoint import Checkpoint
from asvit.training.result import TrainResult
from asvit.training.session import ClassifierSession
from tests.asvit.runs.test_checkpoints_within_epochs import ALWAYS, check_same, stop_at
from tests.asvit.runs.test_runs_train import ARCH, TINY

LONG: dict[str, Any] = {**TINY, "recipe": "small", "epochs": 12, "warmup_epochs": 2}
HOUR = 3600


def clocked(monkeypatch: pytest.MonkeyPatch, *seconds: float, probed: float = 1.0) -> None:
    """Epochs take so many seconds, the last of them for the rest; first batches tell another."""

    def so_far(session: ClassifierSession) -> float:
        done = len(session.history)
        return sum(seconds[:done]) + max(0, done - len(seconds)) * seconds[-1]

    def pace(history: list[object]) -> float:
        return seconds[min(len(history), len(seconds)) - 1]

    monkeypatch.setattr(ClassifierSession, "seconds", property(so_far))
    monkeypatch.setattr("asvit.training.session.seconds_of_an_epoch", pace)
    monkeypatch.setattr(Job, "pace", lambda _self: (100.0, probed))


def rates(result: TrainResult) -> list[float]:
    return [row.learning_rate for row in result.history]


def cosine(settings: Any, epochs: int, steps: int) -> list[float]:
    """The rate of the last update of each epoch of a cosine decay, after the warm-up."""
    high, low = settings.learning_rate, settings.lowest_rates[1]
    last = [(epoch * steps - 1) / (epochs * steps) for epoch in range(1, epochs + 1)]
    return [low + (high - low) * (1 + math.cos(math.pi * share)) / 2 for share in last]


@pytest.mark.parametrize("probed", [0.5, 10.0, 25.0])
def test_epochs_follow_the_pace_and_the_rate_follows_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, probed: float
) -> None:
    clocked(monkeypatch, 10.0, probed=probed)
    result = run_training(ARCH, out=tmp_path / "run", hours=100 / HOUR, **LONG)
    assert len(result.history) == 10
    expected = cosine(result.settings, 10, steps=3)
    assert rates(result)[2:] == pytest.approx(expected[2:], rel=1e-6)
    assert Checkpoint.read(tmp_path / "run" / "checkpoint.safetensors").finished


@pytest.mark.parametrize(
    ("seconds", "epochs"),
    [
        ((10.0, 10.0, 10.0, 20.0), 7),  # 30 s for three, 80 s for four
        ((20.0, 20.0, 20.0, 10.0), 8),
        ((10.0, 10.0, 300.0), 3),  # the last one alone is over the time
        ((400.0,), 1),
        ((1.0,), 12),  # not more than asked for
    ],
)
def test_another_pace_changes_the_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: tuple[float, ...], epochs: int
) -> None:
    clocked(monkeypatch, *seconds)
    result = run_training(ARCH, out=tmp_path / "run", hours=110 / HOUR, **LONG)
    assert len(result.history) == epochs


def test_stopped_anywhere_it_keeps_the_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clocked(monkeypatch, 10.0, 20.0, probed=4.0)
    options = {**LONG, "hours": 100 / HOUR}
    run_training(ARCH, out=tmp_path / "whole", **options)
    monkeypatch.setattr(Job, "pace", None)  # only a new training is timed
    stops = 0
    while True:
        how: dict[str, Any] = {"checkpoint_minutes": ALWAYS, "progress": stop_at(2 + stops % 3)}
        if stops == 0:
            clocked(monkeypatch, 10.0, 20.0, probed=4.0)
        try:
            run_training(ARCH, out=tmp_path / "run", **how, **options)
            break
        except KeyboardInterrupt:
            monkeypatch.setattr(Job, "pace", None)
            stops += 1
    assert stops > 3
    check_same(tmp_path / "run", tmp_path / "whole")

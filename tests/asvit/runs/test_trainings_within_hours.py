"""Trainings within hours: as many epochs as their pace allows, planned again after each."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from asvit.core.progress import Progress
from asvit.runs.algorithms.training import TrainAlgorithm
from asvit.runs.training import run_training
from asvit.training import timing
from asvit.training.checkpoint import Checkpoint
from asvit.training.result import TrainResult
from asvit.training.session import ClassifierSession
from asvit.training.settings import TrainSettings
from asvit.training.timing import images_per_second, timed_batch
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
    monkeypatch.setattr(TrainAlgorithm, "_pace", lambda _self: (100.0, probed))


def rates(result: TrainResult) -> list[float]:
    return [row.learning_rate for row in result.history]


def cosine(settings: Any, epochs: int, steps: int) -> list[float]:
    """The rate of the last update of each epoch of a cosine decay, after the warm-up."""
    high, low = settings.learning_rate, settings.min_lr
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


def test_hours_that_are_enough_change_nothing(tmp_path: Path) -> None:
    options = {**LONG, "epochs": 4, "warmup_epochs": 3, "log_every": 2}
    run_training(ARCH, out=tmp_path / "with", hours=1.0, **options)
    run_training(ARCH, out=tmp_path / "without", **options)
    check_same(tmp_path / "with", tmp_path / "without")


def test_stopped_anywhere_it_keeps_the_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clocked(monkeypatch, 10.0, 20.0, probed=4.0)
    options = {**LONG, "log_every": 1, "hours": 100 / HOUR}
    run_training(ARCH, out=tmp_path / "whole", **options)
    monkeypatch.setattr(TrainAlgorithm, "_pace", None)  # only a new training is timed
    stops = 0
    while True:
        how: dict[str, Any] = {"checkpoint_minutes": ALWAYS, "progress": stop_at(2 + stops % 3)}
        if stops == 0:
            clocked(monkeypatch, 10.0, 20.0, probed=4.0)
        try:
            run_training(ARCH, out=tmp_path / "run", **how, **options)
            break
        except KeyboardInterrupt:
            monkeypatch.setattr(TrainAlgorithm, "_pace", None)
            stops += 1
    assert stops > 3
    check_same(tmp_path / "run", tmp_path / "whole")


@pytest.mark.parametrize(
    ("device", "workers", "trained", "expected"),
    [("cpu", 0, 1000.0, 1000.0), ("cuda", 3, 100.0, 100.0), ("cuda", 3, 1000.0, 240.0)],
)
def test_the_slower_of_training_and_preparing_beside_it_tells_the_pace(
    monkeypatch: pytest.MonkeyPatch, device: str, workers: int, trained: float, expected: float
) -> None:
    clock, taken = [0.0], list[int]()
    monkeypatch.setattr("asvit.training.timing.time.perf_counter", lambda: clock[0])

    class Slow:
        batch_size = 8  # of two processes

        def batches(self, _epoch: int, _start: int) -> Iterator[tuple[Tensor]]:
            while True:
                clock[0] += 0.1
                yield (torch.zeros(4, 3, 8, 8),)

        def close(self) -> None:
            clock.clear()

    class Fake:
        def __init__(self, _task: Slow, _processes: object, *, epochs: int) -> None: ...

        def train(self, _epoch: int, batches: Iterable[object]) -> SimpleNamespace:
            taken.append(len(list(batches)))
            return SimpleNamespace(images_per_second=trained)

        def close(self) -> None:
            taken.append(0)

    monkeypatch.setattr(timing, "Trainer", Fake)
    task: Any = Slow()
    processes: Any = SimpleNamespace(world=2, device=torch.device(device))
    speed = images_per_second(task, processes, epochs=3, workers=workers)
    assert speed == pytest.approx(expected)
    assert not clock
    # On a GPU the first steps are captured as a graph.
    assert taken == [4 if device == "cuda" else 1, 3, 0]


@pytest.mark.parametrize(
    ("device", "batch_size", "expected"),
    [("cpu", 512, 16), ("cpu", 8, 4), ("meta", 512, 64), ("meta", 100, 50)],
)
def test_timed_steps_are_small_on_a_cpu_and_fill_a_gpu(
    device: str, batch_size: int, expected: int
) -> None:
    processes: Any = SimpleNamespace(device=torch.device(device), world=2)
    settings = TrainSettings(architecture=ARCH, batch_size=batch_size)
    assert timed_batch(settings, processes) == expected


@pytest.mark.parametrize(
    ("macs", "expected"),
    [
        *((10_000_000, 64), (25_000_000, 40), (100_000_000, 16), (5_000_000_000, 16)),
        (22_000_000, 44),  # not 45: mixup takes pairs
    ],
)
def test_timed_steps_of_small_networks_are_as_in_the_training(macs: int, expected: int) -> None:
    processes: Any = SimpleNamespace(device=torch.device("cpu"), world=1)
    settings = TrainSettings(architecture=ARCH, batch_size=256)
    assert timed_batch(settings, processes, macs) == expected
    assert timed_batch(replace(settings, batch_size=32), processes, macs) == min(32, expected)


def test_progress_tells_the_planned_epochs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clocked(monkeypatch, 10.0, probed=20.0)
    events: list[Progress] = []
    run_training(ARCH, out=tmp_path / "run", hours=100 / HOUR, progress=events.append, **LONG)
    ends = [one for one in events if one.unit == "epoch" and one.record is not None]
    assert [one.total for one in ends] == [10] * 10
    assert [one.share for one in ends] == pytest.approx([n / 10 for n in range(1, 11)])


def test_stages_of_tokens_need_known_epochs(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"retokenize='auto' divides a known number of epochs"):
        run_training(ARCH, out=tmp_path / "run", hours=1, retokenize="auto", **LONG)

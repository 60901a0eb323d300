"""Rough times of runs, from a network of theirs."""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import asvit.runs.estimate as module
from asvit.executors import Workers
from asvit.runs.estimate import Remaining, training_seconds, with_example
from asvit.runs.measurement_pool import Measured, MeasurementJob
from asvit.runs.search import SearchRun
from asvit.search import SearchSettings, TrainingSearchSettings
from asvit.training.candidates import CandidateTrainer, Outcome, Training
from asvit.training.short_settings import CandidateSettings
from asvit.training.step_graph import FEWEST

PLACE: dict[str, Any] = {"space": "asvit-tiny", "image_size": 32, "device": "cpu"}
SMALL = {**PLACE, "images": 2, "points": 3}


@pytest.mark.parametrize(
    ("workers", "rounds"),
    [
        *((Workers(jobs=jobs), rounds) for jobs, rounds in ((1, 4), (2, 2), (3, 2), (64, 2))),
        (Workers(jobs=64, ray="host:6379"), 1),  # with more cores than this machine
    ],
)
def test_trainings_take_the_time_of_their_steps(
    monkeypatch: pytest.MonkeyPatch, workers: Workers, rounds: int
) -> None:
    times = iter([100.0, 1.0, 2.0, 3.0])  # the first one warms up

    def train(self: CandidateTrainer, training: Training) -> Outcome:
        return Outcome(accuracy=50.0, loss=1.0, seconds=next(times), reason="")

    monkeypatch.setattr(CandidateTrainer, "__call__", train)
    monkeypatch.setattr(module, "cores", lambda: 2)
    settings = TrainingSearchSettings(
        **PLACE, trainings=24, training_steps=100, batch_size=4, batch=4, test_images=8
    )
    seconds = training_seconds(settings, workers, done=4)
    longer = (3 * 100 * 4 + 8) / (3 * 5 * 4 + 2)  # images that pass, beside those of the probe
    assert seconds == pytest.approx(20 * rounds / 4 * 2.0 * longer)


def test_paces_make_families_take_equally_long(monkeypatch: pytest.MonkeyPatch) -> None:
    times = {"timm:resnet10t": 1.0, "timm:swin": 2.0, "timm:deit": 20.0}

    def train(self: CandidateTrainer, training: Training) -> Outcome:
        took = next(took for name, took in times.items() if training.architecture.startswith(name))
        return Outcome(accuracy=50.0, loss=1.0, seconds=took, reason="")

    monkeypatch.setattr(CandidateTrainer, "__call__", train)
    settings = TrainingSearchSettings(
        space="resnet,swin,deit", device="cpu", trainings=5, training_steps=100, max_params=10**6
    )
    text, seconds = module.paces(settings, Workers(jobs=1)) or ("", 0)
    assert text == "resnet=2,swin=1,deit=0.33"  # at most three times apart
    assert seconds == pytest.approx(5 * 2.0 * (3 * 100 * 64 + 5_000) / (3 * 5 * 64 + 2))
    assert module.paces(TrainingSearchSettings(**PLACE, trainings=5)) is None
    none_by_hand = replace(settings, space="psvit1d,psvit2d")
    assert module.paces(none_by_hand) is None


@pytest.mark.parametrize(
    ("device", "trained"), [("cpu", ["a", "a", "b"]), ("xpu", ["a", "b", "a", "b"])]
)
def test_networks_are_timed_warm(
    monkeypatch: pytest.MonkeyPatch, device: str, trained: list[str]
) -> None:
    met: list[str] = []

    def train(training: Training) -> Outcome:
        met.append(training.architecture)
        return Outcome(accuracy=50.0, loss=1.0, seconds=1.0, reason="")

    monkeypatch.setattr(module, "CandidateTrainer", lambda *_args, **_options: train)
    monkeypatch.setattr(module, "resolve_device", lambda _name: device)
    module.seconds_each(TrainingSearchSettings(**PLACE, trainings=5), ["a", "b"])
    assert met == trained


def test_steps_that_a_graph_replays_are_timed_without_its_capture(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a GPU: by its first steps, a training would seem to take six times as long."""
    timed: list[int] = []

    def trainer(settings: CandidateSettings, _device: str, **_images: object) -> Any:
        def train(_training: Training) -> Outcome:
            timed.append(settings.steps)
            took = 0.5 + 0.002 * settings.steps
            return Outcome(accuracy=50.0, loss=1.0, seconds=took, reason="")

        return train

    monkeypatch.setattr(module, "CandidateTrainer", trainer)
    monkeypatch.setattr(module, "resolve_device", lambda _name: "cuda")
    for steps, took in ((1000, 2.5), (FEWEST, 0.54)):
        settings = TrainingSearchSettings(**PLACE, trainings=5, training_steps=steps)
        assert module.seconds_each(settings, ["a"]) == [pytest.approx(took)]
    assert timed == [5, FEWEST, 5 * FEWEST] * 2


@pytest.mark.parametrize(("together", "number", "share"), [(True, 5, 1), (False, 1, 5)])
def test_repeats_that_share_a_pass_are_timed_in_one(
    monkeypatch: pytest.MonkeyPatch, together: bool, number: int, share: int
) -> None:
    repeats: list[int] = []

    class Pool:
        def __init__(self, *_values: object, **_options: object) -> None:
            self.device = "cpu"

        def measure(self, jobs: list[MeasurementJob]) -> Iterator[tuple[int, Measured]]:
            repeats.append(jobs[0].other["repeats"])
            yield 0, Measured({})

    ticks = itertools.count()
    monkeypatch.setattr(module, "MeasurementPool", Pool)
    monkeypatch.setattr(module, "takes_all", lambda _device: together)
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    settings = SearchSettings.make(**SMALL, repeats=5, data="gaussian")
    remaining = with_example(Remaining(0, 1), MeasurementJob("", ("params",), "", 32), settings)
    assert (repeats, remaining.seconds) == ([number, number], share)


def test_a_measure_that_fails_says_why() -> None:
    settings = SearchSettings.make(**SMALL, repeats=1, data="gaussian")
    job = MeasurementJob("", ("params",), "", 32, refused="no such network")
    found = with_example(Remaining(3, 4), job, settings)
    assert (found.done, found.left, found.reason) == (3, 4, "no such network")


def test_a_folder_without_a_run_has_nothing_done(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        assert SearchRun.make(out=folder).steps_done() == 0
    assert not list(tmp_path.iterdir())

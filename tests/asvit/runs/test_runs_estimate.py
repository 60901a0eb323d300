"""Rough times of runs, from a network of theirs."""

from dataclasses import replace
from typing import Any

import pytest

import asvit.runs.estimate as module
from asvit.executors import Workers
from asvit.runs.estimate import training_seconds
from asvit.search import SearchSettings
from asvit.training.short import CandidateTrainer, Outcome, Training

PLACE: dict[str, Any] = {"space": "asvit-tiny", "image_size": 32, "device": "cpu"}


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
    settings = SearchSettings(
        **PLACE, trainings=20, training_steps=100, batch_size=4, batch=4, test_images=8
    )
    seconds = training_seconds(settings, workers)
    longer = (3 * 100 * 4 + 8) / (3 * 5 * 4 + 2)  # images that pass, beside those of the probe
    assert seconds == pytest.approx(20 * rounds / 4 * 2.0 * longer)


def test_paces_make_families_take_equally_long(monkeypatch: pytest.MonkeyPatch) -> None:
    times = {"timm:resnet10t": 1.0, "timm:swin": 2.0, "timm:deit": 20.0}

    def train(self: CandidateTrainer, training: Training) -> Outcome:
        took = next(took for name, took in times.items() if training.architecture.startswith(name))
        return Outcome(accuracy=50.0, loss=1.0, seconds=took, reason="")

    monkeypatch.setattr(CandidateTrainer, "__call__", train)
    settings = SearchSettings(
        space="resnet,swin,deit", device="cpu", trainings=5, training_steps=100, max_params=10**6
    )
    text, seconds = module.paces(settings, Workers(jobs=1)) or ("", 0)
    assert text == "resnet=2,swin=1,deit=0.33"  # at most three times apart
    assert seconds == pytest.approx(5 * 2.0 * (3 * 100 * 64 + 5_000) / (3 * 5 * 64 + 2))
    assert module.paces(SearchSettings(**PLACE, trainings=5)) is None
    none_by_hand = replace(settings, space="psvit1d,psvit2d")
    assert module.paces(none_by_hand) is None

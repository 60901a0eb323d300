"""Rough times of runs, from a network of theirs."""

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

"""Trainings of a search: the same in any number of processes."""

import math
from typing import Any

import pytest
import torch

from asvit.executors import Workers
from asvit.runs.training_pool import TrainingPool
from asvit.search import Measurement, SearchSettings
from asvit.spaces import cost, load_space
from asvit.training.short import CandidateTrainer, Outcome, Training
from proxies.evaluation import DeviceError

SPACE = load_space("asvit-tiny")
FIRST, SECOND = "4,4,2|2,2,2|2,1,2|2,1,2|16", "8,8,4|3,4,2|2,2,2|2,1,4|32"
TINY: dict[str, Any] = {
    "space": "asvit-tiny", "controller": "random", "trainings": 4, "training_steps": 2,
    "batch_size": 4, "width": 8, "train_images": 12, "test_images": 6, "classes": 3,
    "device": "cpu",
}  # fmt: skip


def make_pool(workers: Workers | None = None, **settings: Any) -> TrainingPool:
    return TrainingPool(SPACE, SearchSettings.make(**{**TINY, **settings}), workers=workers)


def train(pool: TrainingPool, *given: tuple[str, int]) -> list[Measurement]:
    texts, seeds = zip(*given, strict=True)
    return list(pool.all(list(map(SPACE.parse, texts)), seeds=seeds))


def test_a_training_is_that_of_a_trainer() -> None:
    pool = make_pool(Workers(jobs=1))
    (found,) = train(pool, (FIRST, 1))
    table = CandidateTrainer(SearchSettings.make(**TINY).training, "cpu")
    assert found.values == {"accuracy": table(Training(f"{FIRST},8", 1)).accuracy}
    size = cost(FIRST, 32)
    assert (found.params, found.macs, found.reasons) == (size.params, size.macs, {})
    assert pool.context.provenance == table.provenance


@pytest.mark.usefixtures("forked_modules")
def test_workers_give_the_same_accuracies_in_the_same_order() -> None:
    asked = (FIRST, 0), (SECOND, 0), (FIRST, 1)
    alone = make_pool(Workers(jobs=1))
    shared = make_pool(Workers(jobs=2))
    try:
        assert train(shared, *asked) == train(alone, *asked)
    finally:
        shared.close()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MemoryError("out of memory"), "out of memory"),
        (RuntimeError("CUDA out of memory"), "CUDA out of memory"),
        (ValueError("it does not fit"), "it does not fit"),
    ],
)
def test_a_network_that_cannot_be_trained_has_failed(
    monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    pool = make_pool(Workers(jobs=1))
    trains = CandidateTrainer.__call__

    def fails(self: CandidateTrainer, training: Training) -> Outcome:
        if training.architecture.startswith(SECOND):
            raise error
        return trains(self, training)

    monkeypatch.setattr(CandidateTrainer, "__call__", fails)
    good, bad = train(pool, (FIRST, 0), (SECOND, 0))
    assert math.isfinite(good.values["accuracy"])
    assert math.isnan(bad.values["accuracy"])
    assert reason in bad.reason


def test_a_device_that_fails_is_no_failure_of_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> Outcome:
        raise RuntimeError("CUDA error: device-side assert triggered")

    pool = make_pool(Workers(jobs=1))
    pool.context.device = "cuda"
    monkeypatch.setattr(CandidateTrainer, "__call__", fails)
    monkeypatch.setattr(torch.accelerator, "synchronize", fails)
    with pytest.raises(DeviceError):
        train(pool, (FIRST, 0))


def test_a_loss_that_is_not_finite_is_why_a_training_failed() -> None:
    pool = make_pool(Workers(jobs=1), learning_rate=1e30, training_steps=9)
    (found,) = train(pool, (FIRST, 0))
    assert "accuracy: the loss became" in found.reason


def test_images_without_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="images of two classes or more; standard normal noise"):
        make_pool(data="gaussian")

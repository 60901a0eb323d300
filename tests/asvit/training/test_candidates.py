"""Short trainings: the same whatever came before and in any process, on stratified images."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from asvit.data import Images
from asvit.training import short as module
from asvit.training.short import (
    CandidateTrainer,
    Training,
    outcome_of,
    split,
    split_images,
)
from asvit.training.short_settings import CandidateSettings

TEXT = "4,2,2|2,1,2|2,1,2|2,1,2|16,8"
SETTINGS = CandidateSettings(
    classes=3,
    train_images=12,
    test_images=9,
    image_size=32,
    steps=2,
    batch_size=4,
)


@pytest.fixture(scope="module")
def trainer() -> CandidateTrainer:
    return CandidateTrainer(SETTINGS, "cpu")


def test_a_training_depends_on_its_architecture_and_seed_alone(trainer: CandidateTrainer) -> None:
    first = trainer(Training(TEXT, 0))
    torch.rand(3)
    other = trainer(Training(TEXT, 1))
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        again = CandidateTrainer(SETTINGS, "cpu")(Training(TEXT, 0))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert (again.loss, again.accuracy) == (first.loss, first.accuracy)
    assert other.loss != first.loss
    assert first.seconds > 0
    assert first.reason == ""


@given(st.lists(st.integers(0, 4), min_size=2, max_size=60), st.data())
def test_every_class_gives_its_share(labels: list[int], data: st.DataObject) -> None:
    count = data.draw(st.integers(0, len(labels)))
    part, rest = split(np.array(labels), (count,))
    tested = np.isin(np.arange(len(labels)), part)
    assert sorted([*part, *rest]) == list(range(len(labels)))
    assert tested.sum() == count
    for label in set(labels):
        mine = np.array(labels) == label
        share = count / len(labels) * mine.sum()
        assert abs((mine & tested).sum() - share) <= 1.5


@pytest.mark.parametrize(
    "equal",
    [
        [],
        [(0, 4)],  # of one class
        [(0, 4), (0, 8), (1, 5), (14, 18)],
        [(place, place + 4) for place in range(12)],
        [(0, 1), (2, 7)],  # of two classes
    ],
)
@pytest.mark.parametrize("sizes", [(8,), (5, 4)])
def test_equal_images_are_in_one_part(
    equal: list[tuple[int, int]],
    sizes: tuple[int, ...],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pixels, labels = torch.arange(20.0).view(20, 1, 1, 1), torch.arange(20) % 4
    for one, other in equal:
        pixels[other] = pixels[one]
    images = Images(pixels, labels, tuple("abcd"), "twenty")
    monkeypatch.setattr(module, "load_images", lambda *_given, **_more: images)
    settings = dataclasses.replace(SETTINGS, train_images=20 - sum(sizes))
    module.load_all(settings, sizes)
    *others, train = [part.flatten().tolist() for part, _ in split_images(images, sizes)]
    held = [pixel for part in others for pixel in part]
    assert len(set(held)) == len(held)
    assert not set(held) & set(train)
    assert set(held) | set(train) == set(pixels.flatten().tolist())
    assert all(map(len, others))
    assert equal or [len(part) for part in others] == list(sizes)
    assert {pixels[one].item() for one, other in equal if labels[one] != labels[other]} <= {*train}
    gone = 20 - len(held) - len(train)
    assert (f"{gone} of 20 images are equal to one to test" in caplog.text) == (gone > 0)


def refused(settings: CandidateSettings, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CandidateTrainer(settings, "cpu")


def test_images_that_do_not_suit_are_refused() -> None:
    small = dataclasses.replace(SETTINGS, data="digits", train_images=1500, test_images=500)
    refused(small, "2000 images are needed, but there are 1797: scikit-learn digits")
    one = dataclasses.replace(SETTINGS, data="gaussian")
    refused(one, r"two classes or more; standard normal noise, seed 0 has one")
    many = dataclasses.replace(SETTINGS, classes=30, train_images=2, test_images=40)
    refused(many, r"class 'fractal-00000' has no image to train on \(2 of 42 images of fractal")
    with pytest.raises(FileNotFoundError, match=r"no folder '\./none'"):
        CandidateTrainer(dataclasses.replace(SETTINGS, data="./none"), "cpu")


def test_a_network_that_fails_is_an_outcome(
    trainer: CandidateTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> nn.Module:
        raise TypeError("no such layer")

    monkeypatch.setattr(module, "build", fails)
    outcome = outcome_of(trainer, Training(TEXT, 0))
    assert outcome.reason.startswith("TypeError: no such layer (")

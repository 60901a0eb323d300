"""Trainings of a table: the same whatever came before and in any process, on stratified images."""

import dataclasses
import math
import os
import signal
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from asvit.data import Images
from asvit.executors import Answer, Pool
from asvit.executors.base import perform
from asvit.reference import trainer as module
from asvit.reference.build import Training
from asvit.reference.build_settings import BuildSettings
from asvit.reference.trainer import Trainer, train_all
from asvit.training.supernets.splits import split, split_images, warn_of_copies
from tests.campaigns import forked

TEXT = "4,2,2|2,1,2|2,1,2|2,1,2|16,8"
SETTINGS = BuildSettings.make(
    "quick", n=2, classes=3, train_images=12, test_images=9, steps=2, batch_size=4
)
WORK = {"training": SETTINGS.to_json(), "space": SETTINGS.space}


@pytest.fixture(scope="module")
def trainer() -> Trainer:
    return Trainer(SETTINGS, "cpu")


def test_a_training_depends_on_its_architecture_and_seed_alone(trainer: Trainer) -> None:
    first = trainer(Training(TEXT, 0))
    torch.rand(3)
    other = trainer(Training(TEXT, 1))
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        again = Trainer(SETTINGS, "cpu")(Training(TEXT, 0))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert (again.loss, again.accuracy) == (first.loss, first.accuracy)
    assert other.loss != first.loss
    assert first.seconds > 0
    assert first.reason == ""


def test_the_seed_of_the_table_matters(trainer: Trainer) -> None:
    other = Trainer(dataclasses.replace(SETTINGS, seed=1), "cpu")
    assert other.provenance["digest"] != trainer.provenance["digest"]
    assert other(Training(TEXT, 0)).loss != trainer(Training(TEXT, 0)).loss


def test_networks_begin_with_weights_that_suit_their_width(trainer: Trainer) -> None:
    own = Trainer(dataclasses.replace(SETTINGS, init="own"), "cpu")
    wide = [
        layer
        for layer in trainer._fresh(TEXT, 0).modules()
        if isinstance(layer, nn.Linear) and layer.weight.numel() > 1_000
    ]
    for layer in wide:
        spread = (2 / (layer.in_features + layer.out_features)) ** 0.5
        assert layer.weight.std().item() == pytest.approx(spread, rel=0.1)
    assert len(wide) > 5
    assert own._fresh(TEXT, 0).layers[3].blocks[0].attn.qkv.weight.std() < 0.03
    assert own(Training(TEXT, 0)).loss != trainer(Training(TEXT, 0)).loss


def test_what_the_images_are_is_known(trainer: Trainer) -> None:
    assert trainer.num_classes == 3
    assert trainer.provenance["source"] == "fractal images, 3 classes, seed 0, generator 1"


def test_a_training_that_diverges_fails_with_the_reason(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = module.build

    def broken(*arguments: Any, **more: Any) -> torch.nn.Module:
        model = build(*arguments, **more)
        next(model.parameters()).data.fill_(math.nan)
        return model

    monkeypatch.setattr(module, "build", broken)
    outcome = trainer(Training(TEXT, 0))
    assert (outcome.reason or "").startswith("the weights to start from are infinite or NaN")
    assert math.isnan(outcome.accuracy)
    assert math.isnan(outcome.loss)


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


def test_no_image_is_trained_and_tested_on() -> None:
    pixels = torch.arange(20.0).view(20, 1, 1, 1)
    images = Images(pixels, torch.arange(20) % 4, tuple("abcd"), "twenty")
    test, train = split_images(images, (8,))
    assert len(train[0]) == 12
    assert len(test[0]) == 8
    assert sorted(torch.cat([train[0], test[0]]).flatten().tolist()) == list(range(20))
    assert torch.bincount(test[1]).tolist() == [2] * 4
    assert all(torch.equal(x.flatten() % 4, y.float()) for x, y in (train, test))


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
    equal: list[tuple[int, int]], sizes: tuple[int, ...], caplog: pytest.LogCaptureFixture
) -> None:
    pixels, labels = torch.arange(20.0).view(20, 1, 1, 1), torch.arange(20) % 4
    for one, other in equal:
        pixels[other] = pixels[one]
    images = Images(pixels, labels, tuple("abcd"), "twenty")
    warn_of_copies(images, sizes)
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


def test_classes_of_the_same_images_cannot_be_tested() -> None:
    images = Images(torch.zeros(8, 1, 1, 1), torch.arange(8) % 2, ("a", "b"), "eight")
    with pytest.raises(ValueError, match="each of eight is equal to one of another class"):
        split_images(images, (4,))


def refused(settings: BuildSettings, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Trainer(settings, "cpu")


def test_images_that_do_not_suit_are_refused() -> None:
    small = dataclasses.replace(SETTINGS, data="digits", train_images=1500, test_images=500)
    refused(small, "2000 images are needed, but there are 1797: scikit-learn digits")
    one = dataclasses.replace(SETTINGS, data="gaussian")
    refused(one, r"two classes or more; standard normal noise, seed 0 has one")
    many = dataclasses.replace(SETTINGS, classes=30, train_images=2, test_images=40)
    refused(many, r"class 'fractal-00000' has no image to train on \(2 of 42 images of fractal")
    with pytest.raises(FileNotFoundError, match=r"no folder '\./none'"):
        Trainer(dataclasses.replace(SETTINGS, data="./none"), "cpu")


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_processes_come_to_what_this_one_does(trainer: Trainer) -> None:
    trainings = [Training(TEXT, seed) for seed in range(3)]
    expected = {one: trainer(one) for one in trainings}
    with forked.modules():
        digest = trainer.provenance["digest"]
        outcomes = dict(train_all(trainings, SETTINGS, ["cpu", "cpu"], digest=digest))
    assert {one: of.accuracy for one, of in outcomes.items()} == {
        one: of.accuracy for one, of in expected.items()
    }
    assert [outcomes[one].loss for one in trainings] == [expected[one].loss for one in trainings]


def test_a_network_that_fails_in_a_process_is_no_bug(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> nn.Module:
        raise TypeError("no such layer")

    worker = module.worker({**WORK, "images": trainer.provenance["digest"]}, {}, "cpu")
    monkeypatch.setattr(module, "build", fails)
    answer = perform(worker, Training(TEXT, 0)._asdict())
    assert answer["result"]["reason"].startswith("TypeError: no such layer (")


def test_a_process_without_the_space_trains_nothing() -> None:
    """Else all of its trainings would be stored as failures."""
    with pytest.raises(ValueError, match=r"a worker does not know .*: unknown space 'mine'"):
        module.worker({**WORK, "space": "mine"}, {}, "cpu")


def test_a_process_that_finds_other_images_trains_nothing() -> None:
    words = r"found other images than the table .*: fractal .*, digest \w{12} instead of e{12}; "
    with forked.modules(), pytest.raises(ValueError, match=words):
        list(train_all([Training(TEXT, 0)], SETTINGS, ["cpu"], digest="e" * 64))


def test_processes_that_die_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(ChildProcessError, match=r"no worker could be started: .* with code 1"):
        list(train_all([Training(TEXT, 0)], SETTINGS, ["cpu"], digest=""))


def test_a_training_that_no_process_survives_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = [(0, Answer(failure="given up after 3 tries: killed"))]
    monkeypatch.setattr(Pool, "run", lambda *_: (answer for answer in failed))
    with pytest.raises(
        ChildProcessError, match=r"4,2.* was not trained: given up after 3 tries.*fewer --jobs"
    ):
        list(train_all([Training(TEXT, 0)], SETTINGS, ["cpu"], digest=""))


def test_leaving_early_ends_the_processes(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[int] = []
    popen = subprocess.Popen

    def follow(*arguments: object, **named: object) -> object:
        process = popen(*arguments, **named)
        started.append(process.pid)
        return process

    monkeypatch.setattr(subprocess, "Popen", follow)

    def interrupted(_signal: int, _frame: object) -> None:
        raise KeyboardInterrupt

    long = dataclasses.replace(SETTINGS, steps=10**6)
    trainings = [Training(TEXT, 0), Training(TEXT, 1)]
    before = signal.signal(signal.SIGALRM, interrupted)
    try:
        signal.setitimer(signal.ITIMER_REAL, 2.5)
        with pytest.raises(KeyboardInterrupt):
            list(train_all(trainings, long, ["cpu", "cpu"], digest=trainer.provenance["digest"]))
    finally:
        signal.signal(signal.SIGALRM, before)
    assert len(started) == 2
    assert not any(is_running(process) for process in started)

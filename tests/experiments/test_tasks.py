"""Pictures of tasks are the same again, and none to train on is tested on."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from asvit.training.short import Recipe
from experiments.drawn import DrawnPictures, NumberedPictures
from experiments.tasks import TASKS, Parts, ScatteredDigits, fit_fresh
from experiments.textures import Textures


def test_scattered_digits_are_tested_by_digits_that_no_training_saw() -> None:
    images = ScatteredDigits(8_000, 5_000)
    trained, tested = ({*map(int, part)} for part in np.split(images.drawn, [8_000]))
    assert len(images) == 13_000
    assert trained.isdisjoint(tested)
    assert len(trained) > 1_150
    assert len(tested) > 550
    pictures = [np.asarray(images.picture(index)) for index in (0, 0, 1)]
    assert pictures[0].shape == (32, 32, 3)
    np.testing.assert_array_equal(pictures[0], pictures[1])
    centres = [np.argwhere(one[..., 0] > 128).mean(axis=0) for one in pictures[1:]]
    assert abs(centres[0] - centres[1]).max() > 1


@pytest.mark.parametrize(("kind", "side"), [(DrawnPictures, 64), (Textures, 32)])
def test_generated_pictures_are_the_same_again_and_all_differ(
    kind: Callable[[Sequence[int], int], NumberedPictures], side: int
) -> None:
    pictures = [np.asarray(kind(range(30), side).picture(n)) for n in range(30)]
    again = kind([23, 3], side)
    np.testing.assert_array_equal(np.asarray(again.picture(0)), pictures[23])
    assert {one.shape for one in pictures} == {(side, side, 3)}
    assert len({one.tobytes() for one in pictures}) == 30
    assert np.asarray(again.labels).tolist() == [n % len(again.classes) for n in (23, 3)]


def test_drawn_sets_share_their_test_and_the_larger_has_the_smaller() -> None:
    few, many = (TASKS[name].images(TASKS[name].train, 3) for name in ("drawn-300", "drawn-3000"))
    for one, other in ((0, 0), (299, 299), (300, 3_000), (302, 3_002)):
        assert few.picture(one).tobytes() == many.picture(other).tobytes()
    assert few.picture(300).tobytes() != few.picture(0).tobytes()


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.nightly] * (name != "drawn-300")) for name in TASKS],
)
def test_every_task_has_all_classes_in_both_parts(name: str, tmp_path: Path) -> None:
    classes = len(TASKS[name].images(TASKS[name].train, TASKS[name].test).classes)
    task = replace(TASKS[name], train=2 * classes, test=classes)
    parts = task.load(tmp_path)
    assert parts.train[0].shape == (2 * classes, 3, task.side, task.side)
    assert parts.test[0].shape[0] == classes
    again = task.load(tmp_path)
    assert torch.equal(parts.train[0], again.train[0])


def test_a_training_is_the_same_again_and_learns(tmp_path: Path) -> None:
    parts = replace(TASKS["drawn-300"], train=10, test=5, side=16).load(tmp_path)
    network = partial(nn.Sequential, nn.Flatten(), nn.Linear(3 * 16 * 16, 5))
    recipe = Recipe(30, batch_size=8)
    found = {fit_fresh(network, Parts(parts.train, parts.train), recipe, seed=3) for _ in range(2)}
    assert len(found) == 1
    assert found.pop() > 60

"""Images and the file of a supernet."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from asvit.core.run_files import SUPERNET_WEIGHTS
from asvit.training.supernets.file import Origin, SupernetFile
from asvit.training.supernets.settings import SupernetSettings
from asvit.training.supernets.splits import load_splits, split

SMALL = {
    "classes": 3, "train_images": 20, "validation_images": 6, "test_images": 9,
    "image_size": 16, "epochs": 2, "batch_size": 10,
}  # fmt: skip


@given(st.lists(st.integers(0, 4), min_size=8, max_size=60), st.integers(0, 4), st.integers(0, 4))
def test_parts_are_apart_and_hold_the_same_share_of_every_class(
    labels: list[int], first: int, second: int
) -> None:
    array = np.array(labels)
    parts = split(array, (first, second))
    assert [len(part) for part in parts] == [first, second, len(labels) - first - second]
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(labels)))
    for size, part in zip((first, second), parts, strict=False):
        for label, count in zip(*np.unique(array, return_counts=True), strict=True):
            share = size * count / len(labels)
            # A part is a run of the places that classes take in turn.
            assert abs((array[part] == label).sum() - share) <= 2


def test_images_come_in_three_parts() -> None:
    parts = load_splits(SupernetSettings.make(**SMALL))
    sizes = [len(labels) for _, labels in (parts.train, parts.validation, parts.test)]
    assert sizes == [20, 6, 9]
    assert parts.classes == 3
    assert torch.bincount(parts.validation[1]).tolist() == [2, 2, 2]
    every = torch.cat([pixels for pixels, _ in (parts.train, parts.validation, parts.test)])
    assert len(every.flatten(1).unique(dim=0)) == 35
    again = load_splits(SupernetSettings.make(**SMALL))
    assert torch.equal(again.test[0], parts.test[0])


def test_images_without_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="images of two classes or more; standard normal noise"):
        load_splits(SupernetSettings.make(**SMALL, data="gaussian"))
    with pytest.raises(ValueError, match=r"class \d has no image to train on \(2 of"):
        load_splits(SupernetSettings.make(**{**SMALL, "train_images": 2, "batch_size": 1}))


def a_file(steps: int, **changes: Any) -> SupernetFile:
    settings = SupernetSettings.make(**SMALL)  # four steps
    origin = Origin(settings, {"source": "fractals", "digest": "d"}, 3, "cpu")
    state = {
        "weights/a": torch.arange(3.0),
        "exp_avg/a": torch.ones(3),
        "step/a": torch.tensor(2.0),
        "losses": torch.tensor([1 / 3] * steps, dtype=torch.float64),
    }
    return dataclasses.replace(SupernetFile(origin, 1.5, state), **changes)


def test_a_file_gives_back_what_was_written(tmp_path: Path) -> None:
    made = a_file(3)
    made.write(tmp_path / SUPERNET_WEIGHTS)
    read = SupernetFile.read(tmp_path / SUPERNET_WEIGHTS)
    assert (read.origin, read.seconds, read.steps, read.finished) == (made.origin, 1.5, 3, False)
    assert read.losses == [1 / 3] * 3
    assert read.state.keys() == made.state.keys()
    assert all(torch.equal(read.state[name], made.state[name]) for name in made.state)
    a_file(4).write(tmp_path / SUPERNET_WEIGHTS)
    read = SupernetFile.read(tmp_path / SUPERNET_WEIGHTS)
    assert read.finished
    assert set(read.state) == {"weights/a", "losses"}  # and no more
    assert list(read.weights) == ["a"]


def test_the_digest_is_that_of_the_weights_alone() -> None:
    made = a_file(3)
    assert made.digest == a_file(4, seconds=9.0).digest
    for other in (torch.arange(3.0) + 1, torch.arange(3.0).double(), torch.arange(3.0)[None]):
        assert a_file(3, state={**made.state, "weights/a": other}).digest != made.digest

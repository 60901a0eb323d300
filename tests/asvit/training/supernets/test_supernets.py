"""Supernets: their training, and their files."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn

from asvit.core.run_files import SUPERNET_WEIGHTS
from asvit.data import open_dataset
from asvit.training.short import Recipe
from asvit.training.supernets.file import Origin, SupernetFile
from asvit.training.supernets.settings import SupernetSettings
from asvit.training.supernets.single_path import SupernetTraining
from asvit.training.supernets.splits import load_splits, places_to_train_on, split

RECIPE = Recipe(steps=14, batch_size=6, warmup=3, shift=1, flip=True, weight_decay=0.3)


class Toy(nn.Module):
    """Three paths of one layer each between an input and a head that all share."""

    def __init__(self) -> None:
        super().__init__()
        self.paths = nn.ModuleList(nn.Linear(12, 8) for _ in range(3))
        self.drop = nn.Dropout(0.3)
        self.head = nn.Linear(8, 3)

    def forward(self, images: Tensor, path: int) -> Tensor:
        logits: Tensor = self.head(self.drop(self.paths[path](images.flatten(1)).relu()))
        return logits


def uniform(rng: np.random.Generator) -> int:
    return int(rng.integers(3))


def make(
    recipe: Recipe = RECIPE, draw: Callable[[np.random.Generator], int] = uniform
) -> tuple[Toy, SupernetTraining[int]]:
    torch.manual_seed(0)
    net = Toy()
    images = torch.randn(20, 3, 2, 2)
    labels = torch.randint(0, 3, (20,))
    return net, SupernetTraining(net, (images, labels), recipe, draw=draw, seed=7)


def finished(training: SupernetTraining[int]) -> SupernetTraining[int]:
    while not training.finished:
        training.step()
    return training


def snapshot(training: SupernetTraining[int]) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in training.state().items()}


def test_a_step_leaves_everything_off_its_path_as_it_was() -> None:
    _, training = make()
    seen: set[int] = set()
    for step in range(RECIPE.steps):
        before, path = snapshot(training), training.path(step)
        training.step()
        after = snapshot(training)
        seen.add(path)
        for name in after:
            if name.partition("/")[2].startswith(f"paths.{path}.") or "head" in name:
                assert name not in before or not torch.equal(before[name], after[name])
            elif name != "losses":
                assert torch.equal(before[name], after[name]), (step, name)
        # Paths that were not drawn yet have no optimiser state.
        kept = {int(name.split(".")[1]) for name in after if name.startswith("exp_avg/paths")}
        assert kept == seen
    assert seen == {0, 1, 2}


def test_the_optimiser_counts_the_steps_of_each_parameter() -> None:
    training = finished(make()[1])
    state, paths = training.state(), [training.path(step) for step in range(RECIPE.steps)]
    for path in range(3):
        assert state[f"step/paths.{path}.weight"] == paths.count(path)
    assert state["step/head.weight"] == RECIPE.steps


@pytest.mark.parametrize("stop", [0, 1, 4, 9, 14])
def test_going_on_from_a_state_gives_the_same_bits(stop: int) -> None:
    whole, first = finished(make()[1]), make()[1]
    for _ in range(stop):
        first.step()
    _, second = make()
    second.step()  # load_state has to undo it
    second.load_state(snapshot(first))
    assert len(second.losses) == stop
    ours, theirs = finished(second).state(), whole.state()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize(
    "change",
    [
        {"losses": None},
        {"weights/head.weight": None},
        {"weights/head.weight": torch.zeros(1)},
        {"weights/other": torch.zeros(1)},
        {"exp_avg/other": torch.zeros(1)},
        {"exp_avg/head.weight": torch.zeros(1, 2)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_state_of_another_supernet_is_refused(change: dict[str, torch.Tensor | None]) -> None:
    _, training = make()
    training.step()
    changed = {**snapshot(training), **change}
    with pytest.raises(ValueError, match=r"the (weights|state|training) "):
        training.load_state({n: t for n, t in changed.items() if t is not None})


def test_every_image_is_seen_once_an_epoch_in_a_new_order() -> None:
    recipe = dataclasses.replace(RECIPE, batch_size=5, shift=0, flip=False, steps=8)
    _, training = make(recipe)
    assert training.steps_per_epoch == 4
    epochs = torch.cat([images for images, _ in training._batches_from(0)]).split(20)
    for seen in epochs:
        assert torch.equal(seen.flatten(1).sum(1).sort()[0],
                           training._images.flatten(1).sum(1).sort()[0])  # fmt: skip
    assert not torch.equal(*epochs)


def test_paths_depend_on_seed_and_step_alone_and_steps_keep_the_random_state() -> None:
    _, training = make()
    paths = [training.path(step) for step in range(300)]
    before = torch.random.get_rng_state()
    training.step()
    assert torch.equal(torch.random.get_rng_state(), before)
    assert [training.path(step) for step in range(300)] == paths
    assert min(paths.count(path) for path in range(3)) > 70


def test_a_loss_that_is_not_finite_ends_training_before_it_does_harm() -> None:
    net, training = make()
    training.step()
    with torch.no_grad():
        net.head.bias[0] = math.inf
    before = snapshot(training)
    with pytest.raises(ValueError, match=r"the loss became nan in step 2; use a lower learning"):
        training.step()
    after = snapshot(training)
    assert all(torch.equal(before[name], after[name]) for name in after)


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


def test_copies_are_in_one_part_and_what_was_trained_on_is_known(tmp_path: Path) -> None:
    content = [(number, label, number < 5) for number in range(15) for label in range(2)]
    for number, label, copied in content:
        folder = tmp_path / f"class{label}"
        folder.mkdir(exist_ok=True)
        for name in ["a"] + ["b"] * copied:
            picture = Image.new("RGB", (16, 16), (9 * number, 99 * label, 0))
            picture.save(folder / f"{name}{number}.png")
    settings = SupernetSettings.make(**{**SMALL, "train_images": 25}, data=str(tmp_path))
    parts, images = load_splits(settings), open_dataset(str(tmp_path))
    colours = [
        {tuple(image[:, 0, 0].tolist()) for image in pixels}
        for pixels, _ in (parts.train, parts.validation, parts.test)
    ]
    assert not colours[0] & colours[1] | colours[0] & colours[2] | colours[1] & colours[2]
    places = places_to_train_on(settings, images.labels)
    trained = {images.picture(place).getpixel((0, 0)) for place in places}
    assert (len(places), len(trained)) == (len(parts.train[1]), len(colours[0]))


def test_images_without_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="images of two classes or more; standard normal noise"):
        load_splits(SupernetSettings.make(**SMALL, data="gaussian"))
    with pytest.raises(ValueError, match=r"class 'fractal-\d+' has no image to train on \(2 of"):
        load_splits(SupernetSettings.make(**{**SMALL, "train_images": 2, "batch_size": 1}))


def a_file(steps: int, **changes: Any) -> SupernetFile:
    settings = SupernetSettings.make(**SMALL)  # four steps
    origin = Origin(settings, {"source": "fractals", "digest": "d"}, 3, "cpu", {})
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
    assert read.state["losses"].tolist() == [1 / 3] * 3
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

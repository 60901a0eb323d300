"""Single-path training: what a step changes, what it depends on, and resuming."""

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from asvit.training.short import Recipe
from asvit.training.supernets.single_path import SupernetTraining

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
    epochs = [
        torch.cat([training._batch(4 * epoch + place)[0] for place in range(4)])
        for epoch in range(2)
    ]
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


def test_a_batch_of_more_images_than_there_are_is_refused() -> None:
    with pytest.raises(ValueError, match="batch_size=21 for 20 training images; use at most"):
        make(dataclasses.replace(RECIPE, batch_size=21))

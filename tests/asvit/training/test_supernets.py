"""Supernets: their training, and their files."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from asvit.core.run_files import SUPERNET_WEIGHTS
from asvit.data import open_dataset
from asvit.training.checkpoint import Checkpoint, Origin
from asvit.training.distributed import ProcessGroup
from asvit.training.short import Recipe
from asvit.training.short_settings import SupernetSettings
from asvit.training.supernet import (
    SinglePath,
    load_splits,
    places_to_train_on,
    read_finished,
)
from asvit.training.supernet_result import LossRow
from asvit.training.trainer import Step, Trainer, TrainerState

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
) -> tuple[Toy, SinglePath]:
    torch.manual_seed(0)
    net = Toy()
    images = torch.randn(20, 3, 2, 2)
    labels = torch.randint(0, 3, (20,))
    return net, SinglePath(net, (images, labels), recipe, draw=draw, seed=7)


def trainer_of(task: SinglePath) -> Trainer:
    return Trainer(task, ProcessGroup("cpu"), epochs=-(-task.recipe.steps // task.steps))


def snapshot(net: Toy) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


def test_an_update_leaves_everything_off_its_path_as_it_was() -> None:
    net, task = make()
    trainer, names = trainer_of(task), [name for name, _ in net.named_parameters()]
    before, seen = snapshot(net), set[int]()

    def check(step: Step) -> None:
        nonlocal before
        path, after = task.path(step.epoch * step.steps + step.done - 1), snapshot(net)
        seen.add(path)
        for name, tensor in after.items():
            moved = name.startswith(f"paths.{path}.") or "head" in name
            assert torch.equal(tensor, before[name]) != moved, (step.done, name)
        # Paths that were not drawn yet have no optimiser state.
        groups = trainer._optimizer.param_groups
        order = [id(parameter) for group in groups for parameter in group["params"]]
        of = {order.index(id(parameter)): name for name, parameter in net.named_parameters()}
        stored = {of[int(key.partition("/")[0])] for key in trainer.state().optimizer}
        assert {name for name in stored if "paths" in name} == {
            name for name in names if name.startswith(tuple(f"paths.{one}." for one in seen))
        }
        before = after

    for epoch in range(4):
        trainer.train(epoch, progress=check)
    assert seen == {0, 1, 2}


def test_every_image_is_seen_once_an_epoch_in_a_new_order() -> None:
    recipe = dataclasses.replace(RECIPE, batch_size=5, shift=0, flip=False, steps=8)
    _, task = make(recipe)
    assert task.steps == 4
    epochs = [torch.cat([images for images, *_ in task.batches(epoch, 0)]) for epoch in (0, 1)]
    for seen in epochs:
        own = task.images.flatten(1).sum(1)
        assert torch.equal(seen.flatten(1).sum(1).sort()[0], own.sort()[0])
    assert not torch.equal(*epochs)


def test_paths_depend_on_seed_and_update_alone() -> None:
    _, task = make()
    paths = [task.path(update) for update in range(300)]
    assert [task.path(update) for update in range(300)] == paths
    assert min(paths.count(path) for path in range(3)) > 70


SMALL = {
    "classes": 3, "train_images": 20, "validation_images": 6, "test_images": 9,
    "image_size": 16, "epochs": 2, "batch_size": 10,
}  # fmt: skip


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


@pytest.mark.parametrize("epochs", [1, 2])
def test_only_a_finished_supernet_is_read(tmp_path: Path, epochs: int) -> None:
    settings = SupernetSettings.make(**SMALL)
    origin = Origin(settings, {"source": "fractals", "digest": "d"}, ("a", "b"))
    rows = tuple(LossRow(epoch, 0.5) for epoch in range(1, epochs + 1))
    state = TrainerState({"a": torch.ones(3)}, {})
    Checkpoint(origin, rows, 1.5, state, 2).write(tmp_path / SUPERNET_WEIGHTS, "supernet")
    if epochs == 2:
        assert read_finished(tmp_path).state.weights["a"].tolist() == [1.0] * 3
        return
    with pytest.raises(ValueError, match="is unfinished, 1 of 2 epochs"):
        read_finished(tmp_path)

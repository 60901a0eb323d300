"""Short training: what it learns and draws, and that equal seeds give equal bits."""

import copy
import dataclasses
import math
from typing import Any, Literal

import pytest
import torch
from torch import nn

from asvit.training.optimizers import Muon
from asvit.training.short import (
    LabelledTensors,
    Recipe,
    ShortTask,
    draw_linear_weights,
    fit,
)

RECIPE = Recipe(steps=4, batch_size=6, learning_rate=1e-2, warmup=1)


def linear(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 3))


@pytest.fixture(scope="module")
def small() -> LabelledTensors:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(16, 3, 8, 8, generator=generator), torch.arange(16) % 3


@pytest.mark.parametrize(
    "varied",
    [{}, {"shift": 2, "flip": True}, {"crop_scale": 0.5, "color_jitter": 0.2}],
    ids=["plain", "augmented", "cropped"],
)
def test_equal_seeds_give_equal_bits_and_others_do_not(
    small: LabelledTensors, varied: dict[str, Any]
) -> None:
    recipe = dataclasses.replace(RECIPE, **varied)
    models = [nn.Sequential(nn.Flatten(), nn.Dropout(0.5), linear()[1]) for _ in range(3)]
    fitted = []
    for model, seed in zip(models, (5, 5, 6), strict=True):
        torch.manual_seed(seed + len(fitted))  # earlier draws must not matter
        before = torch.get_rng_state()
        fitted.append(fit(model, small, small, recipe, seed=seed))
        assert torch.equal(before, torch.get_rng_state())
    assert fitted[0] == fitted[1]
    assert fitted[0].losses != fitted[2].losses
    first, second, third = (model[2].weight for model in models)
    assert torch.equal(first, second)
    assert not torch.equal(first, third)


def by_hand(model: nn.Module, batches: list[LabelledTensors], recipe: Recipe) -> nn.Module:
    """The same training with explicit formulas for the loss and the learning rate."""
    decays = {0: recipe.weight_decay, 1: 0.0}  # of matrices and of vectors
    groups = [
        {"params": [p for p in model.parameters() if (p.ndim == 1) == vectors], "weight_decay": d}
        for vectors, d in decays.items()
    ]
    optimizer = torch.optim.AdamW(groups)
    if recipe.optimizer == "muon":
        optimizer = Muon(optimizer.param_groups)
    for step, (pixels, labels) in enumerate(batches):
        logs = model(pixels).log_softmax(1)
        hard = -logs[torch.arange(len(labels)), labels].mean()
        optimizer.zero_grad()
        ((1 - recipe.label_smoothing) * hard - recipe.label_smoothing * logs.mean()).backward()
        nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
        if step < recipe.warmup:
            rate = recipe.learning_rate * (step + 1) / (recipe.warmup + 1)
        else:
            progress = (step - recipe.warmup) / (recipe.steps - recipe.warmup)
            rate = recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
    return model


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_the_steps_are_those_of_the_recipe(
    small: LabelledTensors, optimizer: Literal["adamw", "muon"]
) -> None:
    sizes = {"steps": 6, "batch_size": 16, "warmup": 2}
    rates = {"learning_rate": 0.05, "weight_decay": 0.3, "clip": 0.7}
    recipe = Recipe(**sizes, **rates, optimizer=optimizer)
    trained = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 6), nn.Linear(6, 3))
    fresh = copy.deepcopy(trained)
    fit(trained, small, small, recipe, seed=3)
    order = torch.Generator().manual_seed(3)
    batches = []
    for _ in range(6):  # an epoch is one batch
        chosen = torch.randperm(16, generator=order)
        batches.append((small[0][chosen], small[1][chosen]))
    expected = by_hand(fresh, batches, recipe)
    for ours, theirs in zip(trained.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("count", "batch_size", "steps"), [(10, 4, 10), (3, 8, 3)])
def test_every_image_comes_once_before_any_comes_again(
    count: int, batch_size: int, steps: int
) -> None:
    labels = torch.arange(count)
    data = labels.float().view(-1, 1, 1, 1), labels
    recipe = Recipe(steps=steps, batch_size=batch_size)
    batches = list(ShortTask(linear(), data, recipe, seed=0).batches(0, 0))
    assert all(torch.equal(p.flatten().long(), y) for p, y in batches)
    epochs = torch.cat([labels for _, labels in batches]).split(count)
    assert all(sorted(epoch.tolist()) == list(range(count)) for epoch in epochs)
    assert len({tuple(epoch.tolist()) for epoch in epochs}) > 1


def test_pointwise_convolutions_are_linear_layers_and_models_may_keep_their_weights() -> None:
    model = nn.Sequential(nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 1, groups=8))
    before = [layer.weight.clone() for layer in model]
    draw_linear_weights(model)
    changed = [not torch.equal(a, layer.weight) for a, layer in zip(before, model, strict=True)]
    assert changed == [True, False, False]
    model.weights_suit_width = True
    before = [layer.weight.clone() for layer in model]
    draw_linear_weights(model)
    assert all(torch.equal(a, layer.weight) for a, layer in zip(before, model, strict=True))


@pytest.mark.parametrize(
    ("layer", "drawn"),
    [
        (nn.Conv2d(12, 24, 2, stride=2), True),
        (nn.Conv2d(12, 24, 4, stride=4), True),
        (nn.Conv2d(12, 24, 2, stride=2, groups=2), False),
        (nn.Conv2d(12, 24, 3, stride=2, padding=1), True),
        (nn.Conv2d(300, 600, 2, stride=2), False),  # wide enough for 0.02
    ],
)
def test_convolutions_with_too_small_weights_are_drawn_as_maps_of_their_patches(
    layer: nn.Conv2d, drawn: bool
) -> None:
    nn.init.normal_(layer.weight, std=0.02)
    draw_linear_weights(layer)
    out, into = layer.weight.flatten(1).shape
    spread = math.sqrt(2 / (into + out)) if drawn else 0.02
    assert layer.weight.std().item() == pytest.approx(spread, rel=0.1)


@pytest.fixture(scope="module")
def uneven() -> LabelledTensors:
    """Ten images of the first class, and two of either other one."""
    labels = torch.tensor([0] * 10 + [1, 1, 2, 2])
    return torch.randn(14, 3, 8, 8, generator=torch.Generator().manual_seed(2)), labels


def test_sampled_batches_have_as_many_of_each_class(uneven: LabelledTensors) -> None:
    recipe = Recipe(steps=9, batch_size=6, balance="sampling")
    tasks = [ShortTask(linear(), uneven, recipe, seed=0) for _ in range(2)]
    first, again = ([*task.batches(0, 0)] for task in tasks)
    labels = torch.cat([labels for _, labels in first])[:42]  # three rounds of 14
    assert max(labels.bincount()) - min(labels.bincount()) <= 3
    assert all(torch.equal(one[1], other[1]) for one, other in zip(first, again, strict=True))


def test_balanced_trainings_are_measured_by_class(uneven: LabelledTensors) -> None:
    recipe = dataclasses.replace(RECIPE, balance="sampling")
    results = [fit(linear(), uneven, uneven, recipe, seed=5) for _ in range(2)]
    assert results[0] == results[1]
    model = linear()
    measured = fit(model, uneven, uneven, recipe, seed=5).accuracy
    images, labels = uneven
    right = model.eval()(images).argmax(1) == labels
    by_class = [right[labels == label].double().mean() for label in labels.unique()]
    assert measured == pytest.approx(100 * float(torch.stack(by_class).mean()))

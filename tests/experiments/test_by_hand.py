"""Tests for networks by hand and the plain loop."""

import pytest
import torch

from experiments.by_hand import BY_HAND, CLASSES, SIDE, Pictures, Recipe, accuracy, train


@pytest.mark.parametrize("name", BY_HAND)
def test_networks_are_of_the_study(name: str) -> None:
    make, _ = BY_HAND[name]
    network = make().eval()
    assert sum(parameter.numel() for parameter in network.parameters()) <= 1_000_000
    assert network(torch.zeros(2, 1, SIDE, SIDE)).shape == (2, CLASSES)


@pytest.mark.parametrize("recipe", [Recipe(), Recipe("adamw", 1e-3, mixup=0.2)])
def test_the_loop_learns_what_is_easy(recipe: Recipe) -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(500) % CLASSES
    noise = torch.randint(20, (500, SIDE, SIDE), generator=generator)
    pixels = (noise + 25 * labels.view(-1, 1, 1)).clamp(max=255).to(torch.uint8)
    pictures = Pictures(pixels, labels)
    torch.manual_seed(0)
    network = BY_HAND["plain residual network"][0]()
    before = accuracy(network, pictures)
    epochs = train(network, recipe, pictures, seconds=4)
    assert epochs > 1
    assert accuracy(network, pictures) > before + 40

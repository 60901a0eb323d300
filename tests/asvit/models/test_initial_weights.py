"""A seed draws the same weights on every supported version of torch and timm."""

import pytest
import torch

from tests.asvit.models.families import NETWORKS, make

# Drawn with torch 2.9.0 and timm 1.0.28, and with torch 2.15.0 and timm 1.0.31.
GOLDEN = {
    "asvit": 2.80883188,
    "asvit, positions": -0.681883002,  # with torch 2.14.1 alone
    "asvit, parts": 32.6080744,
    "asvit, parts, compact": 5.42500496,  # with torch 2.14.1 alone
    "shiftvit": -1.00461505,
    "shiftvit, deep stem": -3.98401717,  # with torch 2.14.1 alone
    "psvit 1d": -4.4008144,
    "psvit 2d": -6.75753262,
    "vit": 5.40617145,
    "vit, any size": 5.40617145,
    "vit, mean of tokens": -0.697590259,
    "deit with a teacher": -2.20813147,
    "deit, converted": -11.1187427,
    "pvt": -4.27964703,
    "pvt, converted": -23.0207181,
    "convnext": 0.157040256,
    "resnet": -9.02313555,
}


def summed(network: torch.nn.Module) -> float:
    """All parameters in one number, each with a weight of its own."""
    values = torch.cat([p.detach().double().flatten() for p in network.parameters()])
    return float(values @ torch.arange(len(values)).double().sin())


@pytest.mark.parametrize("name", GOLDEN)
def test_a_fresh_network_has_the_weights_of_its_seed(name: str) -> None:
    assert summed(make(name)) == pytest.approx(GOLDEN[name], rel=1e-6)


def test_every_family_has_a_golden_value() -> None:
    assert GOLDEN.keys() == NETWORKS.keys()

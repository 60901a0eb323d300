"""The state of an optimiser as tensors and numbers, and back."""

import json

import pytest
import torch
from timm.optim import create_optimizer_v2
from torch import nn

from asvit.training.checkpoint import EngineState, load_optimizer, optimizer_state


def network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 3))


def trained(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    generator = torch.Generator().manual_seed(steps)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(5, 4, generator=generator)).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize("name", ["adamw", "sgd", "momentum", "lamb", "adafactor", "lion", "muon"])
def test_a_resumed_optimiser_takes_the_same_steps(name: str) -> None:
    whole, first, second = network(), network(), network()
    optimizer, before, after = (
        create_optimizer_v2(model, name, lr=1e-2, weight_decay=0.1)
        for model in (whole, first, second)
    )
    trained(whole, optimizer, 3)
    trained(whole, optimizer, 2)
    trained(first, before, 3)
    tensors, numbers = optimizer_state(before)
    second.load_state_dict(first.state_dict())
    copied = {key: value.clone() for key, value in tensors.items()}
    load_optimizer(after, copied, json.loads(json.dumps(numbers)))
    trained(second, after, 2)
    ours, theirs = second.state_dict(), whole.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_the_state_of_another_network_is_refused() -> None:
    _, numbers = optimizer_state(torch.optim.AdamW(network().parameters()))
    groups = [{"params": [p]} for p in network().parameters()]
    with pytest.raises(ValueError, match="another network"):
        load_optimizer(torch.optim.AdamW(groups), {}, numbers)
    state = EngineState({"0.weight": torch.zeros(2, 2)}, {}, {}, {})
    with pytest.raises(ValueError, match="the weights of the checkpoint do not fit"):
        state.load(network(), None)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("part", ["weights", "average"])
def test_weights_that_are_no_numbers_are_refused(value: float, part: str) -> None:
    right = network().state_dict()
    wrong = {**right, "2.bias": torch.tensor([0.0, value, 0.0])}
    parts = {"weights": right, "average": right, part: wrong}
    model, average = network(), network()
    state = EngineState(**parts, moments={}, numbers={})
    with pytest.raises(
        ValueError, match=r"of the checkpoint are infinite or NaN, as in '2\.bias'"
    ):
        state.load(model, average)
    assert all(torch.equal(model.state_dict()[name], right[name]) for name in right)


@pytest.mark.parametrize(
    ("tensors", "change"),
    [
        ({"x/exp_avg": torch.zeros(1)}, {}),
        ({"group 9/lr": torch.zeros(1)}, {}),
        ({"": torch.zeros(1)}, {}),
        ({}, {"groups": [3]}),
        ({}, {"groups": []}),
        ({}, {"state": {"x": {}}}),
        ({}, {"state": {"0": 3}}),
        ({}, {"state": []}),
    ],
)
def test_what_is_no_state_is_refused(
    tensors: dict[str, torch.Tensor], change: dict[str, object]
) -> None:
    optimizer = torch.optim.AdamW(network().parameters())
    _, numbers = optimizer_state(optimizer)
    with pytest.raises(ValueError, match="is of another network, or none"):
        load_optimizer(optimizer, tensors, {**numbers, **change})

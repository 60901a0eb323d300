"""Checkpoints of a training: what they keep; damaged ones: tests/contracts."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from timm.optim import create_optimizer_v2
from torch import nn

from asvit.training.checkpoint import (
    Checkpoint,
    TrainerState,
    load_optimizer,
    optimizer_state,
)
from tests.contracts.readers import checkpoint


def same(ours: TrainerState, theirs: TrainerState) -> bool:
    pairs = [(getattr(ours, n), getattr(theirs, n)) for n in ("weights", "average", "moments")]
    return ours.numbers == theirs.numbers and all(
        a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in b) for a, b in pairs
    )


def test_round_trip(tmp_path: Path) -> None:
    written = checkpoint()
    written.write(tmp_path / "c.safetensors")
    found = Checkpoint.read(tmp_path / "c.safetensors")
    assert same(found.state, written.state)
    assert torch.equal(found.part.losses, written.part.losses)
    part = replace(found.part, losses=written.part.losses)
    assert replace(found, state=written.state, part=part) == written


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
    for steps in (3, 2):
        trained(whole, optimizer, steps)
    trained(first, before, 3)
    tensors, numbers = optimizer_state(before)
    second.load_state_dict(first.state_dict())
    copied = {key: value.clone() for key, value in tensors.items()}
    load_optimizer(after, copied, json.loads(json.dumps(numbers)))
    trained(second, after, 2)
    ours, theirs = second.state_dict(), whole.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


@pytest.mark.parametrize("part", ["weights", "average"])
def test_weights_that_do_not_fit_are_refused(part: str) -> None:
    right = network().state_dict()
    parts = {"weights": right, "average": right, part: {"0.weight": torch.zeros(2, 2)}}
    with pytest.raises(ValueError, match="of the checkpoint do not fit"):
        TrainerState(**parts, moments={}, numbers={}).load(network(), network())


@pytest.mark.parametrize(
    ("tensors", "change"),
    [
        ({}, {"groups": [{}] * 6}),  # of another network
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

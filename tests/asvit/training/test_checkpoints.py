"""Checkpoints of a training: what they keep; damaged ones: tests/contracts."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from asvit.training.checkpoint import Checkpoint
from asvit.training.optimizers import (
    load_optimizer,
    make_optimizer,
    optimizer_state,
    parameter_groups,
)
from asvit.training.trainer import TrainerState
from tests.contracts.readers import checkpoint

CPU = torch.device("cpu")


def same(ours: TrainerState, theirs: TrainerState) -> bool:
    pairs = (ours.weights, theirs.weights), (ours.optimizer, theirs.optimizer)
    return all(
        a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in b) for a, b in pairs
    )


def test_round_trip(tmp_path: Path) -> None:
    written = checkpoint()
    written.write(tmp_path / "c.safetensors")
    found = Checkpoint.read(tmp_path / "c.safetensors")
    assert same(found.state, written.state)
    assert replace(found, state=written.state) == written


def network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 3))


def trained(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    generator = torch.Generator().manual_seed(steps)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(5, 4, generator=generator)).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize("name", ["adamw", "sgd", "muon"])
def test_a_resumed_optimiser_takes_the_same_steps(name: str) -> None:
    whole, first, second = network(), network(), network()
    optimizer, before, after = (
        make_optimizer(name, parameter_groups(model, 0.1), learning_rate=1e-2, device=CPU)
        for model in (whole, first, second)
    )
    for steps in (3, 2):
        trained(whole, optimizer, steps)
    trained(first, before, 3)
    second.load_state_dict(first.state_dict())
    load_optimizer(after, {key: value.clone() for key, value in optimizer_state(before).items()})
    trained(second, after, 2)
    ours, theirs = second.state_dict(), whole.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)

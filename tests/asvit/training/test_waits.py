"""Trainings do not wait for an accelerator within :data:`READ_EVERY` steps."""

import dataclasses
from importlib import import_module
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from asvit.training import augmentation, trainer
from asvit.training.augmentation import drawn_ahead
from asvit.training.distributed import ProcessGroup
from asvit.training.short import FitResult, Recipe, fit
from asvit.training.supernet import SinglePath
from asvit.training.trainer import Trainer
from tests.asvit.training.test_supernets import make
from tests.asvit.training.test_supernets import uniform as draw
from tests.host_reads import HostReads

RECIPE = Recipe(
    steps=120, batch_size=16, shift=2, flip=True, crop_scale=0.5, color_jitter=0.3, warmup=5
)
CPU = torch.device("cpu")


def images(device: str) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(100, 3, 32, 32).to(device), torch.randint(0, 3, (100,)).to(device)


def trained(recipe: Recipe, device: str = "cpu") -> tuple[FitResult, list[Tensor]]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.2), nn.Linear(3 * 32 * 32, 3)).to(device)
    data = images(device)
    return fit(model, data, data, recipe, seed=4), [*model.parameters()]


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> int:
    """Losses are read every few steps."""
    monkeypatch.setattr(trainer, "READ_EVERY", 4)
    monkeypatch.setattr(augmentation, "AHEAD", 4)
    return 4


@pytest.fixture
def fused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The device of the tests has AdamW in one kernel, as CUDA has."""
    optimizer = import_module("torch.optim.optimizer")
    monkeypatch.setattr(optimizer, "_get_fused_kernels_supported_devices", lambda: ["meta"])


@pytest.mark.usefixtures("fused")
@pytest.mark.parametrize("balance", ["none", "sampling"])
def test_short_trainings_read_once_in_so_many_steps(often: int, balance: Any) -> None:
    counts = []
    for rounds in (1, 3):
        steps = rounds * often
        recipe = dataclasses.replace(RECIPE, steps=steps, balance=balance)
        with HostReads(number=1.0) as host:
            assert len(trained(recipe, "meta")[0].losses) == steps
        counts.append((host.reads, host.copies))
    (reads, copies), (more_reads, more_copies) = counts
    assert more_reads - reads == 2
    assert more_copies - copies == 2 * 3  # indices, places and colours


def test_supernets_read_once_in_so_many_steps(often: int) -> None:
    counts = []
    for rounds in (1, 3):
        net, small = make(Recipe(steps=rounds * often, batch_size=6, shift=1, flip=True))
        many = 6 * rounds * often // len(small.labels) + 1
        data = small.images.repeat(many, 1, 1, 1).to("meta"), small.labels.repeat(many)
        task = SinglePath(net, (data[0], data[1].to("meta")), small.recipe, draw=draw, seed=1)
        task.steps = rounds * often
        with HostReads() as host:
            Trainer(task, ProcessGroup(torch.device("meta")), epochs=1).train(0)
        counts.append((host.reads, host.copies))
    (reads, copies), (more_reads, more_copies) = counts
    assert more_reads - reads == 2
    assert more_copies - copies == 2 * 2  # indices and places


def test_draws_are_made_in_order_and_copied_together(monkeypatch: pytest.MonkeyPatch) -> None:
    copies: list[torch.Size] = []
    real = augmentation.to_device

    def spy(tensor: Tensor, device: torch.device) -> Tensor:
        copies.append(tensor.shape)
        return real(tensor, device)

    monkeypatch.setattr(augmentation, "to_device", spy)
    rng = torch.Generator().manual_seed(0)
    ahead = drawn_ahead(lambda step: {"number": torch.rand(1, generator=rng)}, range(120), CPU)
    drawn = torch.cat([one["number"] for one in ahead])
    rng.manual_seed(0)
    assert torch.equal(drawn, torch.cat([torch.rand(1, generator=rng) for _ in range(120)]))
    assert copies == [(50, 1), (50, 1), (20, 1)]

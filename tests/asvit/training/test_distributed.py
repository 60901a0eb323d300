"""Groups of processes: how long they wait for each other, and how they part."""

import os
from collections.abc import Callable, Mapping

import pytest
import torch
from torch import nn

from asvit.training.distributed import processes_of
from tests.campaigns import forked


def together(function: Callable[..., None], *arguments: float) -> list[int | None]:
    """Exit codes of a function in two processes that a launcher started."""
    environments = forked.pair_environments()
    both = [forked.start(function, environment, *arguments) for environment in environments]
    for one in both:
        one.join(120)
    return [one.exitcode for one in both]


def _average(environment: Mapping[str, str]) -> None:
    os.environ.update(environment)
    group, network = processes_of("cpu"), nn.Linear(1, 1)
    wrapped = group.wrap(network)
    wrapped(torch.full((1, 1), float(group.rank))).backward()
    assert network.weight.grad is not None
    assert network.weight.grad.item() == 0.5


@pytest.mark.slow
def test_gradients_are_averaged() -> None:
    assert together(_average) == [0, 0]

"""Groups of processes: how long they wait for each other, and how they part."""

import os
import sys
import time
from collections.abc import Callable, Mapping
from datetime import timedelta

import pytest
import torch
from torch import nn

from asvit.training import distributed
from asvit.training.distributed import processes_of
from tests.campaigns import forked

_NOTICED = 7


def together(function: Callable[..., None], *arguments: float) -> list[int | None]:
    """Exit codes of a function in two processes that a launcher started."""
    environments = forked.pair_environments()
    both = [forked.start(function, environment, *arguments) for environment in environments]
    for one in both:
        one.join(120)
    return [one.exitcode for one in both]


def _prepare(environment: Mapping[str, str], patience: float, seconds: float) -> None:
    """The first process prepares images for so long, while the other one waits."""
    os.environ.update(environment)
    distributed.PATIENCE = timedelta(seconds=patience)
    group = processes_of("cpu")
    try:
        with group.first_before_others():
            if group.first:
                time.sleep(seconds)
    except RuntimeError:
        sys.exit(_NOTICED)


@pytest.mark.slow
def test_processes_wait_for_the_first_one_as_long_as_patience_says() -> None:
    assert together(_prepare, 60, 2) == [0, 0]
    assert together(_prepare, 1, 4)[1] == _NOTICED


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

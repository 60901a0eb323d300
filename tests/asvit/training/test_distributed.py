"""Groups of processes: how long they wait for each other, and how they part."""

import atexit
import os
import sys
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from types import SimpleNamespace

import accelerate
import pytest
import torch
from torch import nn

from asvit.training import distributed
from asvit.training.distributed import LaunchedProcesses, processes_of
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


def test_a_process_that_sees_one_gpu_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """accelerate takes the local rank for the number of a GPU, as where processes see all."""
    ranks: list[str] = []

    def accelerator(**_options: object) -> SimpleNamespace:
        ranks.append(os.environ["LOCAL_RANK"])
        return SimpleNamespace(process_index=3, num_processes=4, device=torch.device("cuda:0"))

    values = {"WORLD_SIZE": 4, "LOCAL_WORLD_SIZE": 4, "RANK": 3, "LOCAL_RANK": 3}
    for name, value in {**values, "CUDA_VISIBLE_DEVICES": 3}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(distributed, "resolve_device", torch.device)
    monkeypatch.setattr(accelerate, "Accelerator", accelerator)
    for gpus, rank in ((4, "3"), (1, "0")):
        monkeypatch.setattr(torch.cuda, "device_count", lambda gpus=gpus: gpus)
        LaunchedProcesses("cuda")
        assert ranks.pop() == rank


def _average(environment: Mapping[str, str]) -> None:
    os.environ.update(environment)
    deepspeed = property(lambda _: accelerate.DistributedType.DEEPSPEED)
    accelerate.Accelerator.distributed_type = deepspeed  # type: ignore[assignment]
    group, network = processes_of("cpu"), nn.Linear(1, 1)
    wrapped = group.wrap(network)
    wrapped(torch.full((1, 1), float(group.rank))).backward()
    assert network.weight.grad is not None
    assert network.weight.grad.item() == 0.5


@pytest.mark.slow
def test_gradients_are_averaged_whatever_the_settings_of_accelerate_say() -> None:
    assert together(_average) == [0, 0]


def _leave(environment: Mapping[str, str]) -> None:
    os.environ.update(environment)
    group = processes_of("cpu")
    group.wait()
    group.leave_at_exit()
    assert torch.distributed.is_initialized()
    atexit._run_exitfuncs()
    assert not torch.distributed.is_initialized()


@pytest.mark.slow
def test_the_group_is_left_when_python_exits() -> None:
    assert together(_leave) == [0, 0]


class Several(LaunchedProcesses):
    """Two processes on a device, of which there is one."""

    def __init__(self, device: str) -> None:
        self.world, self.device = 2, torch.device(device)


def test_batch_norms_of_processes_on_the_cpu_are_not_shared() -> None:
    with pytest.raises(ValueError, match="sync_bn needs a GPU in each process: PyTorch has no"):
        Several("cpu").share_norms(nn.BatchNorm2d(2))

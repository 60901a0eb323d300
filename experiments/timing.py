"""What the benchmarks share: how something is timed.

The shortest of interleaved runs counts, for the thing and for what it is compared with alike: what
it takes when nothing else gets in the way. On a CPU with one thread the clock is processor time,
which leaves out the time that other programs had the core for; they still slow it down a little.
"""

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from proxies.features import pooled_feature


def shortest(device: torch.device, runs: int, *functions: Callable[[], object]) -> list[float]:
    """Seconds of each function: the shortest of interleaved runs, after one that warms up."""
    for function in functions:
        function()
    rounds = [[seconds(device, function) for function in functions] for _ in range(runs)]
    return [min(times) for times in zip(*rounds, strict=True)]


def seconds(device: torch.device, function: Callable[[], object]) -> float:
    """Seconds of one run; the device is waited for before and after it, and not within."""
    _synchronise(device)
    now = time.process_time if by_processor(device) else time.perf_counter
    start = now()
    function()
    _synchronise(device)
    return now() - start


def by_processor(device: torch.device) -> bool:
    """Whether processor time is what is measured."""
    return device.type == "cpu" and torch.get_num_threads() == 1


def hardware(device: torch.device) -> str:
    """The device, how it is timed, and the version of torch, in words."""
    clock = "processor time" if by_processor(device) else "wall-clock time"
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return f"torch {torch.__version__}, {name}, threads {torch.get_num_threads()}, {clock}"


@torch.no_grad()
def forward(model: nn.Module, images: Tensor) -> None:
    """A plain forward pass to the pooled feature, with PyTorch's fused attention."""
    pooled_feature(model, images)


def _synchronise(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)

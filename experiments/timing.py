"""Timing for the benchmarks.

The result is the shortest of several runs, which are interleaved with those of the baseline: the
time without interference. On a CPU with one thread the clock is processor time, which excludes the
time of other programs on the core; they still slow it down a little.
"""

import os
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from proxies import timing
from proxies.features import pooled_feature


def shortest(device: torch.device, runs: int, *functions: Callable[[], object]) -> list[float]:
    """Seconds of each function: the shortest of interleaved runs, after a warm-up."""
    for function in functions:
        function()
    rounds = [[seconds(device, function) for function in functions] for _ in range(runs)]
    return [min(times) for times in zip(*rounds, strict=True)]


def seconds(device: torch.device, function: Callable[[], object]) -> float:
    """Seconds of one run, with the device synchronised before and after it."""
    _synchronise(device)
    now = time.process_time if by_processor(device) else time.perf_counter
    start = now()
    function()
    _synchronise(device)
    return now() - start


def by_processor(device: torch.device) -> bool:
    """Whether to measure processor time."""
    return device.type == "cpu" and torch.get_num_threads() == 1


def hardware(device: torch.device) -> str:
    """A description of the device, the clock and the version of torch."""
    clock = "processor time" if by_processor(device) else "wall-clock time"
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    return f"torch {torch.__version__}, {name}, threads {torch.get_num_threads()}, {clock}"


def processor() -> str:
    """The name of the processor, with its cache of the second level where Linux tells it."""
    name = timing.processor()
    known = "SC_LEVEL2_CACHE_SIZE" in getattr(os, "sysconf_names", {})
    cache = os.sysconf("SC_LEVEL2_CACHE_SIZE") / 2**20 if known else 0.0
    return f"{name}, L2 cache {cache:g} MiB a core" if cache > 0 else name


@torch.no_grad()
def forward(model: nn.Module, images: Tensor) -> None:
    """A forward pass to the pooled feature, with PyTorch's fused attention."""
    pooled_feature(model, images)


def _synchronise(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)

"""Time of a forward pass, measured between passes of a reference network.

Times differ between machines, and grow while other programs run. The reference network is always
the same, so its passes show how much they grew: see :attr:`Latency.busy`.

With one thread on a CPU the clock is that thread's processor time, which leaves out the slices of
time that other programs get on its core; on an idle machine that is wall-clock time. With more
threads, or an accelerator, it is wall-clock time.
"""

import math
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asvit.measuring.latency import Latency, on_threads
from proxies.features import in_evaluation_mode
from proxies.registry import register_measure

_WARM_UP = 0.1  # seconds, at least two passes
_LEAST, _SECONDS = 10, 1.0  # timed passes, and time with those of the reference
_FEWEST, _MOST_SECONDS = 3, 20.0  # of a network so slow that ten passes take longer than this
_REFERENCE_IMAGES = 128  # that an accelerator is given: 45 GFLOP
_QUICK = 0.05  # seconds of a pass that notices what the one before left in the caches

_shortest: dict[tuple[str, int], float] = {}  # pass of the reference: device, threads -> seconds


def time_passes(run: Callable[[], object], images: Tensor, *, runtime: str = "eager") -> Latency:
    """Time calls of ``run``, which passes ``images`` through a network, in inference mode.

    After a warm-up, passes of the network and of the reference alternate for at least a second and
    ten passes. That many passes of a slow network end after 20 seconds, with at least three.
    ``runtime`` is what ``run`` uses, for the result.
    """
    with torch.inference_mode():
        device = images.device
        own, others = _alternate(run, _reference(device), device, _clock(device))
    name, threads = device_name(images.device), torch.get_num_threads()
    shortest = min(*others, _shortest.get((name, threads), math.inf))
    _shortest[name, threads] = shortest
    low, median, high = np.quantile(own, [0.25, 0.5, 0.75])
    return Latency(
        milliseconds=float(median) * 1e3,
        spread=float(high - low) * 1e3,
        relative=float(np.median(np.divide(own, others))),
        passes=len(own),
        busy=float(np.quantile(others, 0.75)) / shortest,
        device=name,
        threads=threads,
        runtime=runtime,
        batch=len(images),
        image_size=images.shape[-1],
    )


def _alternate(
    run: Callable[[], object],
    reference: Callable[[], object],
    device: torch.device,
    clock: Callable[[], float],
    wall: Callable[[], float] = time.perf_counter,
) -> tuple[list[float], list[float]]:
    """Seconds of single passes of the network and of the reference, taken in turn, by ``clock``.

    ``wall`` decides when to end.
    """

    def seconds(call: Callable[[], object]) -> float:
        synchronise(device)
        start = clock()
        call()
        synchronise(device)
        return clock() - start

    once = math.inf
    for call in (reference, run):
        start = wall()
        call()
        once = seconds(call)
        while wall() - start < _WARM_UP:
            once = seconds(call)
    own: list[float] = []
    others: list[float] = []
    spent, start = 0.0, wall()
    while len(own) < _LEAST or spent < _SECONDS:
        for call, times in ((reference, others), (run, own)):
            if once < _QUICK:
                call()
            times.append(seconds(call))
        spent = wall() - start
        if len(own) >= _FEWEST and spent >= _MOST_SECONDS:
            break
    return own, others


def _clock(device: torch.device) -> Callable[[], float]:
    alone = device.type == "cpu" and torch.get_num_threads() == 1
    fine = time.get_clock_info("thread_time").resolution < 1e-6  # on Windows 16 ms
    return time.thread_time if alone and fine else time.perf_counter


def _reference(device: torch.device) -> Callable[[], Tensor]:
    """Some milliseconds of work: three feed-forward parts of DeiT-Tiny, on its 196 tokens.

    On an accelerator, those of many images: a single one takes less time than its launches, which
    shows nothing of other programs.
    """
    images = 1 if device.type == "cpu" else _REFERENCE_IMAGES
    tokens = torch.ones(images * 196, 192, dtype=torch.float32, device=device)
    into, out = (tokens.new_full(shape, 1 / 192) for shape in ((768, 192), (192, 768)))

    def run() -> Tensor:
        x = tokens
        for _ in range(3):
            x = F.linear(F.gelu(F.linear(x, into)), out)
        return x

    return run


def image_dtype(model: nn.Module) -> torch.dtype:
    """The dtype of images that a model is timed with: that of its parameters."""
    return next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)


@register_measure(
    "milliseconds of a forward pass of one image, on the device that measures",
    name="latency",
    better="lower",
    random=False,
    timed=True,
)
def milliseconds(model: nn.Module, images: Tensor) -> float:
    """Median milliseconds of a pass of one of the images ``[n, C, S, S]``, where they are."""
    image = images[:1].to(image_dtype(model))
    with in_evaluation_mode(model):
        return time_passes(lambda: model(image), image).milliseconds


def device_name(device: torch.device) -> str:
    """Model name of the processor or the accelerator."""
    if device.type != "cpu":
        named = getattr(torch.get_device_module(device), "get_device_name", None)
        if named is not None:
            return str(named(device))
    return processor()


def timed_on(device: torch.device) -> str:
    """What times depend on, in words: the device, and on a CPU the threads of an operation."""
    if device.type != "cpu":
        return device_name(device)
    return on_threads(device_name(device), torch.get_num_threads())


def processor() -> str:
    """Model name of the processor, if the system has it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        lines = []
    models = (line.partition(": ")[2] for line in lines if line.startswith("model name"))
    return next(models, "") or platform.processor() or platform.machine()


def synchronise(device: torch.device) -> None:
    """Wait until a device has finished its work; a CPU always has."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)

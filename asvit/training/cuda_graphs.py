"""CUDA graphs: what a function computes on a device, captured once and replayed in one launch.

Where kernels are small, a device mostly waits for the CPU that launches them one by one.

References:
    https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

import torch

T = TypeVar("T")

BEFORE_CAPTURE = 3  # calls in which libraries set up what they need

_WAITED = "synchronizing CUDA operation"  # PyTorch's own words


@contextmanager
def beside(device: torch.device, cuda: Any = torch.cuda) -> Iterator[None]:
    """Work on another stream than the usual one, which waits for it at the end.

    Nothing can be captured on the usual stream. What is captured is to be called here before, as
    backward passes stay on the stream on which they began.

    Args:
        device: A CUDA device.
        cuda: torch's functions for it.
    """
    with cuda.device(device):
        other, usual = _other_stream(cuda, cuda.current_device()), cuda.current_stream()
        other.wait_stream(usual)
        try:
            with cuda.stream(other):
                yield
        finally:
            usual.wait_stream(other)


@cache
def _other_stream(cuda: Any, device: int) -> Any:
    """The same at each call: torch keeps the memory of a stream for that stream alone."""
    return cuda.Stream(device)


def capture(run: Callable[[], object], cuda: Any = torch.cuda) -> Callable[[], None]:
    """``run`` as a CUDA graph, which a call replays; captured :func:`beside` the usual stream.

    Capturing computes nothing. A replay repeats the operations on the same tensors, with new
    random numbers of the device; nothing that ``run`` does in Python is repeated. The memory that
    ``run`` took belongs to the graph, until the function that is returned is deleted.

    Raises:
        RuntimeError: If ``run`` cannot be captured, for example as it waits for the device.
    """
    graph = cuda.CUDAGraph()
    generator = cuda.default_generators[cuda.current_device()]
    as_it_was = generator.clone_state()
    try:
        # Other threads may allocate memory meanwhile.
        with cuda.graph(graph, stream=cuda.current_stream(), capture_error_mode="thread_local"):
            run()
    except BaseException:
        # Some versions of PyTorch leave the generator in a capture that failed, and it then
        # refuses to draw.
        generator.graphsafe_set_state(as_it_was)
        raise
    replay: Callable[[], None] = graph.replay
    return replay


def counting_waits(function: Callable[[], T], cuda: Any = torch.cuda) -> tuple[T, int]:
    """Call a function; returns its result, and how often the host waited for the device in it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        before = cuda.get_sync_debug_mode()
        cuda.set_sync_debug_mode("warn")
        try:
            result = function()
        finally:
            cuda.set_sync_debug_mode(before)
    return result, sum(_WAITED in str(one.message) for one in caught)

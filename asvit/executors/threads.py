"""How many threads and workers a machine is used with."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

_MEMORY_SHARE = 0.5  # of the machine's, which workers of our own accord may fill


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def workers_that_fit(gigabytes: float) -> int:
    """Workers that this machine has cores for, and memory if each takes so many gigabytes."""
    if not hasattr(os, "sysconf"):
        return cores()
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    return max(1, min(cores(), int(_MEMORY_SHARE * memory / gigabytes)))


@contextmanager
def one_thread(device: str) -> Iterator[None]:
    """Keep work on the CPU in one thread: sums in several depend on their number."""
    import torch

    before = torch.get_num_threads()
    if device == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)

"""Where workers compute: the device of each, and how many fit on the GPUs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import cycle, islice
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from asvit.executors.base import Workers

P = TypeVar("P")

_MEMORY_SHARE = 0.5  # of the free memory of a GPU, for an automatic number of workers
_CONTEXT_BYTES = 500e6  # that CUDA takes in every process, beside its tensors


def in_turn(places: Sequence[P], jobs: int) -> tuple[P, ...]:
    """A place for each of so many jobs, in turn: their numbers differ by one at most."""
    return tuple(islice(cycle(places), jobs))


def place(devices: Iterable[str], jobs: int) -> tuple[str, ...]:
    """The device of each of so many workers.

    A device without a number, such as ``"cuda"``, is all of its kind on this machine.
    """
    return in_turn(list(dict.fromkeys(one for name in devices for one in _all_of(name))), jobs)


def cluster_of(workers: Workers | None) -> str | None:
    """Address of the Ray cluster that workers are on; None for those of this machine."""
    return None if workers is None else workers.ray


def device_of(name: str, workers: Workers | None = None) -> str:
    """The device that ``name`` stands for: of this machine, or of the cluster of ``workers``.

    With Ray ``"auto"`` is ``"cuda"`` if the cluster has a GPU, and this machine needs none.

    Raises:
        ValueError: If there is no such device.
        OSError: If there is no Ray cluster.
        ImportError: If Ray is asked for and not installed.
    """
    address = cluster_of(workers)
    if address is not None and name == "auto":
        from asvit.executors.on_ray import cluster_resources

        return "cuda" if cluster_resources(address).get("GPU") else "cpu"
    if address is not None and name.partition(":")[0] == "cuda":
        return "cuda"
    from proxies.evaluation import resolve_device

    return str(resolve_device(name))


def device_here(device: str, workers: Workers | None) -> str:
    """The device on which this process prepares work for ``workers`` on ``device``.

    It need not have what a cluster has.
    """
    return device if cluster_of(workers) is None else "cpu"


def on_cluster(device: str, workers: Workers | None) -> str | None:
    """The device in words, where it is the cluster that resolves it."""
    return None if cluster_of(workers) is None else f"{device} on Ray"


def fitting(
    device: str, task: Callable[[], object] | None, *, cores: int, larger: float = 1.0
) -> int:
    """The number of workers that fit on the GPUs of ``device``, one on each at least.

    ``task`` is one of theirs, done once to see how much memory it takes; others may take
    ``larger`` times as much. Each worker needs one of the ``cores``. Without a task, and on other
    accelerators, it is one worker for each.
    """
    import torch

    devices = _all_of(device)
    if task is None or torch.device(device).type != "cuda":
        return len(devices)
    torch.cuda.init()  # without which the next call fails
    torch.cuda.reset_peak_memory_stats(device)
    task()
    each = larger * torch.cuda.max_memory_allocated(device) + _CONTEXT_BYTES
    torch.cuda.empty_cache()  # what this process keeps no worker has
    free = min(torch.cuda.mem_get_info(gpu)[0] for gpu in devices)
    share = min(cores // len(devices), int(_MEMORY_SHARE * free / each))
    return len(devices) * max(1, share)


def _all_of(device: str) -> Sequence[str]:
    """The devices that a name stands for."""
    import torch

    kind, colon, _ = device.partition(":")
    count = 1 if colon else torch.get_device_module(kind).device_count()
    return [device] if count == 1 else [f"{kind}:{index}" for index in range(count)]

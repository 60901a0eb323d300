"""Where workers compute: of this machine, or of a Ray cluster."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import cycle, islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asvit.executors.base import Workers


def place(devices: Iterable[str], jobs: int) -> tuple[str, ...]:
    """The device of each of so many workers, in turn: their numbers differ by one at most.

    A device without a number, such as ``"cuda"``, is all of its kind on this machine.
    """
    places = dict.fromkeys(one for name in devices for one in all_of(name))
    return tuple(islice(cycle(places), jobs))


def all_of(device: str) -> Sequence[str]:
    """The devices that a name stands for."""
    import torch

    kind, colon, _ = device.partition(":")
    count = 1 if colon else torch.get_device_module(kind).device_count()
    return [device] if count == 1 else [f"{kind}:{index}" for index in range(count)]


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

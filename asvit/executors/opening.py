"""A pool of the workers that a run is asked to use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from asvit.executors.base import Work, Workers
from asvit.executors.pool import Backend, Pool


@contextmanager
def open_pool(workers: Workers, work: Work, device: str) -> Iterator[Pool]:
    """Workers for ``work`` while the block lasts.

    Args:
        workers: How many, and where.
        work: What each is made of.
        device: Where they compute; ``"cuda"`` without a number is shared out over all there are.

    Raises:
        ImportError: If Ray is asked for and not installed.
        ConnectionError: If there is no Ray cluster at the address.
    """
    backend: Backend
    if workers.ray is not None:
        from asvit.executors.on_ray import RayActors

        backend = RayActors(work, workers.ray, device, jobs=workers.jobs)
    else:
        from asvit.executors.processes import Processes

        backend = Processes(work, devices_of(device, workers.jobs or 1))
    pool = Pool(backend, timeout=workers.timeout, retries=workers.retries)
    try:
        yield pool
    finally:
        pool.close()


def devices_of(device: str, jobs: int) -> tuple[str, ...]:
    """The device of each of ``jobs`` workers."""
    if device != "cuda":
        return (device,) * jobs
    import torch

    return tuple(f"cuda:{job % torch.cuda.device_count()}" for job in range(jobs))

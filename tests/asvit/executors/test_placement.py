"""Where workers compute, on machines whose GPUs are only pretended."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from fractions import Fraction
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from asvit.executors import Work, Workers, on_ray, open_pool
from asvit.executors.placement import device_of, fitting
from asvit.executors.processes import ProcessBackend

jobs, gpus = st.integers(1, 32), st.integers(1, 8)


@contextmanager
def pretended(count: int, *, free: Callable[[str], float] = lambda _: 80e9) -> Iterator[None]:
    """A machine of so many GPUs, each with so many bytes of free memory."""
    ready = list[bool]()

    def reset(_: str) -> None:
        assert ready, "as CUDA's allocator demands"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "device_count", lambda: count)
        patch.setattr(torch.cuda, "mem_get_info", lambda gpu: (int(free(gpu)), 80_000_000_000))
        patch.setattr(torch.cuda, "init", lambda: ready.append(True))
        patch.setattr(torch.cuda, "reset_peak_memory_stats", reset)
        yield


def of_local_workers(jobs: int) -> tuple[str, ...]:
    with open_pool(Workers(jobs=jobs), Work("nothing:there"), "cuda") as pool:
        backend = pool._backend
        assert isinstance(backend, ProcessBackend)
        return backend._devices


class PretendedRay:
    """A cluster of so many GPUs; notes the GPU of each actor, and the share it takes of it."""

    def __init__(self, gpus: int) -> None:
        self.resources = {"GPU": float(gpus), "CPU": 1.0}
        self.util, self.scheduling_strategies = self, self
        self.groups, self.shares = 0, list[tuple[int, Fraction]]()

    def cluster_resources(self) -> dict[str, float]:
        return self.resources

    def remote(
        self, *_: Any, num_gpus: float = 0, num_cpus: int = 0, max_restarts: int = 0
    ) -> Any:
        assert num_cpus == 0  # which a node may have fewer of than it has GPUs
        self.share = Fraction(str(num_gpus))
        return lambda actor: self

    def placement_group(self, bundles: list[dict[str, int]]) -> int:
        assert bundles == [{"GPU": 1}]
        self.groups += 1
        return self.groups - 1

    def PlacementGroupSchedulingStrategy(self, group: int) -> int:
        return group

    def options(self, *, scheduling_strategy: int) -> Any:
        self.shares.append((scheduling_strategy, self.share))
        return SimpleNamespace(remote=lambda *_: MagicMock())

    def put(self, _: object) -> None:
        pass


def of_actors(jobs: int) -> tuple[str, ...]:
    ray = PretendedRay(torch.cuda.device_count())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(on_ray, "_joined", lambda _: nullcontext(ray))
        backend = on_ray.RayBackend(Work("nothing:there"), "auto", "cuda", jobs=jobs)
    for slot in range(backend.slots):
        backend.start(slot)
    for gpu in range(ray.groups):
        taken = sum(share for place, share in ray.shares if place == gpu)
        assert taken <= 1  # or some would never start
    assert all(10_000 * share == int(10_000 * share) for _, share in ray.shares)  # Ray's unit
    return tuple(f"cuda:{gpu}" for gpu, _ in ray.shares)


@pytest.mark.parametrize("placed", [of_local_workers, of_actors])
@given(jobs=jobs, count=gpus)
def test_no_gpu_is_idle_or_has_two_workers_more_than_another(
    placed: Callable[[int], tuple[str, ...]], jobs: int, count: int
) -> None:
    with pretended(count):
        loads = Counter(placed(jobs))
    assert loads.total() == jobs
    assert len(loads) == min(jobs, count)
    assert max(loads.values()) - min(loads.values()) <= 1
    assert {torch.device(device).index or 0 for device in loads} == set(range(len(loads)))


@pytest.mark.parametrize(("resources", "device"), [({"GPU": 2.0}, "cuda"), ({"CPU": 64.0}, "cpu")])
def test_on_ray_the_devices_are_those_of_the_cluster(
    resources: dict[str, float],
    device: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(on_ray, "cluster_resources", lambda _: resources)
    workers = Workers(ray="host:6379")
    assert device_of("auto", workers) == device
    assert device_of("cuda:1", workers) == "cuda"
    assert device_of("cpu", workers) == "cpu"
    with pytest.raises(ValueError, match="'nowhere' is not available"):
        device_of("nowhere", workers)


@given(count=gpus, gigabytes=st.floats(0.1, 40), larger=st.floats(1, 8), cores=st.integers(1, 128))
def test_as_many_workers_as_the_free_memory_of_the_fullest_gpu_has_room_for(
    count: int, gigabytes: float, larger: float, cores: int
) -> None:
    done: list[str] = []

    def free(gpu: str) -> float:
        return 80e9 if gpu != "cuda:0" or count == 1 else 40e9

    with pretended(count, free=free), pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            torch.cuda,
            "max_memory_allocated",
            lambda _: int(gigabytes * 1e9) if done else 0,
        )
        patch.setattr(torch.cuda, "empty_cache", lambda: done.append("emptied"))
        workers = fitting("cuda", lambda: done.append("task"), cores=cores, larger=larger)
    assert done == ["task", "emptied"]
    share, rest = divmod(workers, count)
    assert rest == 0
    room = (80e9 if count == 1 else 40e9) / 2
    takes = larger * gigabytes * 1e9 + 500e6
    assert share == 1 or (share * takes <= room and workers <= cores)
    assert (share + 1) * takes > room * 0.999 or (share + 1) * count > cores

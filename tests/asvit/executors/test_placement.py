"""Where workers compute, on machines whose GPUs are only pretended."""

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from asvit.executors import Workers, on_ray
from asvit.executors.placement import device_of, place

jobs, gpus = st.integers(1, 32), st.integers(1, 8)


@given(jobs=jobs, count=gpus)
def test_no_gpu_is_idle_or_has_two_workers_more_than_another(jobs: int, count: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "device_count", lambda: count)
        loads = Counter(place(["cuda"], jobs))
    assert loads.total() == jobs
    assert len(loads) == min(jobs, count)
    assert max(loads.values()) - min(loads.values()) <= 1
    assert {torch.device(device).index or 0 for device in loads} == set(range(len(loads)))


@given(count=gpus, tasks=jobs)
def test_by_default_long_work_has_a_worker_a_gpu(count: int, tasks: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "device_count", lambda: count)
        long, short = (
            Workers().resolved("cuda", tasks=tasks, seconds=seconds, gigabytes=1.0)
            for seconds in (3600, 1)
        )
    assert long.jobs == min(tasks, count)
    assert short.jobs == 1


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

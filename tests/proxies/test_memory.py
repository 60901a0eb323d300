"""Smaller pieces when memory runs out, and one device synchronisation per measure.

Synchronisations are counted on the meta device, where others fail.
"""

import errno
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import asvit
import proxies.memory
from proxies import PROXIES, Circle, Inputs
from proxies.activations import jacobian_covariance
from proxies.memory import in_chunks
from proxies.messages import out_of_memory
from tests.host_reads import HostReads
from tests.proxies.networks import NETWORKS, run_out_of_memory, small_swin


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxies.memory, "_halvings", {})


@pytest.mark.parametrize("size", [1, 2, 7, 8, 10])
@pytest.mark.parametrize("room", [1, 3, 100])
def test_chunks_cover_every_row_once(size: int, room: int) -> None:
    def rows_of(rows: slice) -> Tensor:
        part = torch.arange(size)[rows]
        if len(part) > room:
            raise MemoryError
        return part

    assert in_chunks(rows_of, size, key=("rows",)).tolist() == list(range(size))


def test_what_ran_out_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    model = NETWORKS["attention"][0]().double()
    images = torch.randn(9, 3, 8, 8, dtype=torch.float64)
    expected = jacobian_covariance(model, images)
    sizes = run_out_of_memory(monkeypatch, model, 2)
    for _ in range(2):
        assert jacobian_covariance(model, images) == pytest.approx(expected, rel=1e-9)
    assert sizes == [9, 5, 3, *[2, 2, 2, 2, 1] * 2]


@pytest.mark.parametrize(
    "failure",
    [
        *(MemoryError(), torch.OutOfMemoryError("no room")),
        RuntimeError("CUDA error: out of memory"),  # outside torch's allocator
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"),
        *(RuntimeError(f"could not {verb} a primitive") for verb in ("create", "execute")),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
        *(OSError(errno.ENOMEM, "Cannot allocate memory"), "MPS backend out of memory"),
    ],
)
def test_what_counts_as_out_of_memory(failure: BaseException | str) -> None:
    assert out_of_memory(failure)
    assert not out_of_memory(RuntimeError("shapes differ"))
    assert not out_of_memory(ValueError("out of memory"))


SIDE = 56
# Draws signs on the device of the network, which the meta device cannot do.
_NOT_ON_META = {"az_trainability"}
NAMES = [n for n in PROXIES if PROXIES[n].random and n not in _NOT_ON_META]


def seed() -> nn.Module:
    return asvit.build("8,2,3|4,1,2|4,1,4|4,1,6|16", image_size=SIDE)


def on_meta(build: Callable[[], nn.Module]) -> nn.Module:
    with torch.device("meta"):
        return build()


def inputs() -> Inputs:
    images = torch.empty(4, 3, SIDE, SIDE, device="meta")
    labels = torch.empty(4, dtype=torch.long, device="meta")
    return Inputs(Circle.random((3, SIDE, SIDE), 3), images, labels)


@pytest.mark.parametrize("build", [seed, small_swin])
@pytest.mark.parametrize("name", NAMES)
def test_a_measure_synchronises_once(name: str, build: Callable[[], nn.Module]) -> None:
    model = on_meta(build)
    with HostReads(1.0) as host:
        PROXIES[name].value(model, inputs())
    assert host.reads == 1

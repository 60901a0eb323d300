"""Calls of models with other tensors, and rows in smaller pieces when memory runs out."""

import errno

import pytest
import torch
from torch import Tensor, nn

import proxies.functional
from proxies.activations import jacobian_covariance
from proxies.functional import call_with_tensors, in_chunks
from proxies.messages import out_of_memory
from tests.proxies.networks import NETWORKS, run_out_of_memory


class Shared(nn.Module):
    """One linear map under two names, and its weight in another one."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 3, bias=False)
        self.again = self.first
        self.tied = nn.Linear(3, 3)
        self.tied.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.tied(self.again(self.first(x)))
        return out


def test_every_use_of_a_weight_is_replaced_and_put_back() -> None:
    model = Shared()
    weight, x = model.first.weight, torch.randn(2, 3)
    before, expected = weight.clone(), x @ torch.eye(3) * 8 + model.tied.bias
    double = 2 * torch.eye(3)
    out = call_with_tensors(model, lambda tensor: double if tensor is weight else None, x)
    assert isinstance(out, Tensor)
    torch.testing.assert_close(out, expected)
    assert model.first.weight is model.again.weight is model.tied.weight is weight
    assert torch.equal(weight, before)


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxies.functional, "_halvings", {})


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

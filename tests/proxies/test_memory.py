"""Smaller pieces when memory runs out, and nothing hidden when something else goes wrong."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import proxies.memory
from proxies import jacobian_covariance, ntk_matrix
from proxies.memory import first_that_fits, in_chunks, out_of_memory
from tests.proxies.networks import NETWORKS, run_out_of_memory


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxies.memory, "_first_choice", {})


@pytest.mark.parametrize("size", [1, 2, 7, 8, 10])
@pytest.mark.parametrize("room", [1, 3, 100])
def test_chunks_cover_every_row_once(size: int, room: int) -> None:
    def rows_of(rows: slice) -> Tensor:
        part = torch.arange(size)[rows]
        if len(part) > room:
            raise MemoryError
        return part

    assert in_chunks(rows_of, size, key="rows").tolist() == list(range(size))


def test_what_ran_out_is_not_tried_again() -> None:
    tried: list[int] = []

    def attempt(choice: int) -> Tensor:
        tried.append(choice)
        if choice > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return torch.tensor(choice)

    for _ in range(2):
        assert first_that_fits(attempt, [4, 3, 2, 1], key="same") == 2
    assert tried == [4, 3, 2, 2]
    assert first_that_fits(attempt, [4, 1], key="other") == 1


@pytest.mark.parametrize("error", [MemoryError("no"), RuntimeError("shape"), ValueError("no")])
def test_the_leanest_choice_and_other_errors_fail(error: Exception) -> None:
    def attempt(choice: int) -> Tensor:
        raise error

    with pytest.raises(type(error)):
        first_that_fits(attempt, [1], key="failing")


@pytest.mark.parametrize(("measure", "most"), [(ntk_matrix, 4), (jacobian_covariance, 2)])
def test_a_measure_takes_smaller_pieces(
    measure: Callable[[nn.Module, Tensor], Any], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = NETWORKS["attention"][0]().double()
    images = torch.randn(9, 3, 8, 8, dtype=torch.float64)
    expected = measure(model, images)
    run_out_of_memory(monkeypatch, model, most)
    torch.testing.assert_close(measure(model, images), expected, rtol=1e-9, atol=0)


def test_what_counts_as_out_of_memory() -> None:
    assert out_of_memory(MemoryError())
    assert out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"))
    assert not out_of_memory(RuntimeError("shapes differ"))
    assert not out_of_memory(OSError("can't allocate memory"))


def test_trimming_is_harmless_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    proxies.memory.trim_host_memory()
    for library in (None, object()):
        monkeypatch.setattr(proxies.memory, "_c_library", lambda found=library: found)
        proxies.memory.trim_host_memory()

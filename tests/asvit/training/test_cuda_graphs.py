"""What is captured is repeated on the same tensors; what fails leaves everything as it was."""

import inspect

import pytest
import torch

from asvit.training.step_graph import beside, capture, counting_waits
from tests.fake_cuda import FakeCuda, FakeGenerator, FakeGraph, FakeStream

DEVICE = torch.device("cuda:1")


def test_a_replay_repeats_what_is_computed_on_the_same_tensors() -> None:
    cuda = FakeCuda()
    x, total = torch.ones(3), torch.zeros(3)
    made = []

    def run() -> None:
        total.add_(x)
        made.append(total * 2)

    with beside(DEVICE, cuda):
        replay = capture(run, cuda)
    assert total.tolist() == [0.0] * 3  # nothing is computed in a capture
    x.fill_(5)
    replay()
    replay()
    assert total.tolist() == [10.0] * 3
    assert [one.tolist() for one in made] == [[20.0] * 3]


def test_after_a_capture_that_fails_random_numbers_are_drawn_as_before() -> None:
    cuda = FakeCuda()
    x = torch.ones(3)

    def run() -> None:
        x.mul_(2)
        float(x.sum())

    with beside(DEVICE, cuda), pytest.raises(RuntimeError, match="not permitted"):
        capture(run, cuda)
    assert cuda.notes[1] == "set state before the capture in another stream"
    assert x.tolist() == [1.0] * 3


def test_torch_has_what_its_stand_in_has() -> None:
    inspect.signature(torch.cuda.graph).bind(None, stream=None, capture_error_mode="thread_local")
    pairs = [
        (FakeCuda, torch.cuda, {"note"}),
        (FakeStream, torch.cuda.Stream, set()),
        (FakeGenerator, torch.Generator, set()),
        (FakeGraph, torch.cuda.CUDAGraph, {"recording"}),
    ]
    for ours, real, more in pairs:
        public = {name for name in vars(ours) if not name.startswith("_")}
        assert {name for name in public - more if not hasattr(real, name)} == set()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_every_replay_draws_other_numbers() -> None:
    device = torch.device("cuda", torch.cuda.current_device())
    drawn = torch.zeros(100, device=device)
    with beside(device):
        drawn.uniform_()
        replay = capture(lambda: drawn.uniform_())
    values = []
    for _ in range(2):
        replay()
        values.append(drawn.clone())
    assert not torch.equal(*values)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_work_goes_on_after_a_capture_that_fails() -> None:
    device = torch.device("cuda", torch.cuda.current_device())
    x = torch.ones(3, device=device)

    def run() -> float:
        return float((x.mul_(2) * torch.rand_like(x)).sum())

    with beside(device):
        assert counting_waits(lambda: float(x.sum())) == (3.0, 1)
        with pytest.raises(RuntimeError):
            capture(run)
        assert x.tolist() == [1.0] * 3
        assert 0 < run() < 6

"""Captured trainings make the updates of others, and whatever hinders a capture changes none."""

import dataclasses
import logging
import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import asvit
from asvit.training import step_graph
from asvit.training.short import FitResult, LabelledTensors, Recipe, ShortTask, fit
from asvit.training.step_graph import BEFORE_CAPTURE, StepGraph
from tests.fake_cuda import FakeCuda
from tests.host_reads import read_seldom

CPU = torch.device("cpu")
# A power of two: its products with rounded factors have the same value as number and as tensor.
RECIPE = Recipe(steps=30, batch_size=8, learning_rate=2**-7, warmup=5, shift=1, flip=True)
Result = tuple[FitResult, dict[str, Tensor]]


@pytest.fixture(autouse=True)
def _rounded_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    def rounded(task: ShortTask, epochs: int) -> Callable[[int], float]:
        schedule = exact(task, epochs)
        return lambda update: float(np.float32(schedule(update)))

    exact = ShortTask.schedule
    monkeypatch.setattr(ShortTask, "schedule", rounded)


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCuda]:
    """The CPU passes for a CUDA device, whose losses are read seldom."""
    fake = FakeCuda()
    read_seldom(monkeypatch)
    monkeypatch.setattr(step_graph, "_functions", lambda device: fake)
    yield fake
    assert fake.inside == ["usual"]
    assert fake.sync_debug_mode == 0


class Reading(nn.Module):
    """A network that does something in each forward pass."""

    def __init__(self, act: Callable[[Tensor], object] = lambda pixels: None) -> None:
        super().__init__()
        self.inner, self.act = nn.Linear(3 * 16 * 16, 3), act

    def forward(self, pixels: Tensor) -> Tensor:
        self.act(pixels)
        logits: Tensor = self.inner(pixels.flatten(1))
        return logits


def convolutional() -> nn.Module:
    parts = [nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.GELU()]
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))


def ours() -> nn.Module:
    return asvit.build("5,2,2|3,1,2|2,1,2|2,1,3|16", image_size=16, num_classes=3)


@pytest.fixture(scope="module")
def data() -> LabelledTensors:
    """Uneven classes."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(24, 3, 16, 16, generator=generator), torch.arange(24).sqrt().long() % 3


def trained(build: Callable[[], nn.Module], data: LabelledTensors, recipe: Recipe) -> Result:
    torch.manual_seed(0)
    model = build()
    return fit(model, data, data, recipe, seed=4), model.state_dict()


def assert_equal(one: Result, other: Result) -> None:
    assert one[0] == other[0]
    assert one[1].keys() == other[1].keys()
    for name, tensor in one[1].items():
        assert torch.equal(tensor, other[1][name]), name


@pytest.mark.parametrize("balance", ["none", "sampling"])
@pytest.mark.parametrize("build", [convolutional, ours])
def test_a_captured_training_is_the_same_to_the_bit(
    build: Callable[[], nn.Module],
    balance: Any,
    data: LabelledTensors,
    request: pytest.FixtureRequest,
) -> None:
    recipe = dataclasses.replace(RECIPE, balance=balance)
    expected = trained(build, data, recipe)
    cuda: FakeCuda = request.getfixturevalue("cuda")
    assert_equal(trained(build, data, recipe), expected)
    assert len(set(expected[0].losses)) == recipe.steps
    (graph,) = cuda.graphs
    assert graph.replays == recipe.steps - BEFORE_CAPTURE
    assert set(cuda.notes[1:-2]) == {"replay in another stream"}
    assert [cuda.notes[0], *cuda.notes[-2:]] == [
        "another stream waits for usual",
        "usual waits for another stream",
        "empty cache in usual",
    ]


def read(pixels: Tensor) -> None:
    assert float(pixels.sum()) != 0


class Counting(Reading):
    """Counts its passes, which a graph would not."""

    def __init__(self) -> None:
        super().__init__(self.count)
        self.passes = 0

    def count(self, _: Tensor) -> None:
        self.passes += 1


class Replacing(Reading):
    """Averages its images in a buffer that is another tensor after each pass."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__(self.replace)
        self.register_buffer("mean", torch.zeros(()))

    def replace(self, pixels: Tensor) -> None:
        self.mean = 0.5 * self.mean + pixels.mean()


HINDRANCES: dict[str, tuple[Callable[[], nn.Module], str, int]] = {
    "read": (lambda: Reading(read), "operation not permitted when stream is capturing", 1),
    "tensor": (Replacing, "a step replaces tensors of the network", 0),
    "torch": (
        lambda: Reading(lambda _: torch.rand(1)),
        "a step draws random numbers on the CPU",
        0,
    ),
    "python": (
        lambda: Reading(lambda _: random.random()),
        "a step draws random numbers on the CPU",
        0,
    ),
    "numpy": (
        lambda: Reading(lambda _: np.random.rand()),  # noqa: NPY002
        "a step draws random numbers on the CPU",
        0,
    ),
    "count": (Counting, "a step changes numbers of the network", 0),
}


@pytest.mark.parametrize("what", HINDRANCES)
def test_where_steps_cannot_be_captured_they_go_on_with_the_same_numbers(
    what: str,
    data: LabelledTensors,
    request: pytest.FixtureRequest,
    caplog: pytest.LogCaptureFixture,
) -> None:
    build, reason, graphs = HINDRANCES[what]
    expected = trained(build, data, RECIPE)
    cuda = request.getfixturevalue("cuda")
    with caplog.at_level(logging.DEBUG, step_graph.__name__):
        assert_equal(trained(build, data, RECIPE), expected)
    assert [record.getMessage() for record in caplog.records] == [
        f"steps are not captured as a CUDA graph: {reason}"
    ]
    assert len(cuda.graphs) == graphs
    assert ("set state before the capture in another stream" in cuda.notes) == bool(graphs)
    assert "replay in another stream" not in cuda.notes
    assert cuda.notes[-1] == "usual waits for another stream"


def linear(steps: int, **more: Any) -> tuple[nn.Linear, StepGraph]:
    """A network and a step of it, which notes where it is taken while it can be captured."""
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    settings = {"lr": 2**-7, "fused": True, **more}
    optimizer = torch.optim.AdamW(model.parameters(), **settings)

    def take(x: Tensor) -> Tensor:
        loss = model(x).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss

    return model, StepGraph(take, model, optimizer, steps=steps, device=CPU)


def steps_of(step: StepGraph, sizes: Iterable[int]) -> list[float]:
    with step.running():
        return [float(step(torch.randn(size, 4))) for size in sizes]


def test_a_graph_lasts_from_one_part_of_a_training_to_the_next_until_it_is_forgotten(
    cuda: FakeCuda,
) -> None:
    _, step = linear(30)
    for part in range(3):
        steps_of(step, [5] * 4)
        assert cuda.inside == ["usual"]
        assert [graph.replays for graph in cuda.graphs] == [4 * part + 1]
    step.forget()
    assert cuda.notes[-1] == "empty cache in usual"
    steps_of(step, [5] * 4)
    assert [graph.replays for graph in cuda.graphs] == [9, 1]
    step.close()
    steps_of(step, [5] * 8)
    assert len(cuda.graphs) == 2


def test_without_much_free_memory_nothing_is_captured(
    cuda: FakeCuda, caplog: pytest.LogCaptureFixture
) -> None:
    cuda.free -= 1
    _, step = linear(30)
    with caplog.at_level(logging.DEBUG, step_graph.__name__):
        steps_of(step, [5] * 30)
    assert cuda.graphs == []
    assert caplog.messages == ["steps are not captured as a CUDA graph: too little memory is free"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("build", [convolutional, ours])
def test_on_a_gpu_a_captured_training_is_like_another(
    build: Callable[[], nn.Module], data: LabelledTensors, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Equal algorithms, as the fastest can differ; rounding still can, which larger rates amplify.
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    recipe = dataclasses.replace(RECIPE, learning_rate=2**-10)
    captures = []
    capture = step_graph.capture
    monkeypatch.setattr(
        step_graph, "capture", lambda *given: captures.append(1) or capture(*given)
    )
    on_gpu = tuple(part.cuda() for part in data)
    results = []
    for fewest in (recipe.steps + 1, step_graph.FEWEST):
        monkeypatch.setattr(step_graph, "FEWEST", fewest)
        results.append(trained(lambda: build().cuda(), on_gpu, recipe)[0])
    assert captures == [1]
    eager, captured = results
    assert captured.losses == pytest.approx(eager.losses, rel=0.03)
    assert len(set(captured.losses)) == recipe.steps

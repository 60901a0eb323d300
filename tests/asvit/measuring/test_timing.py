"""Passes of a network are timed in turn with those of a reference; no test asserts a duration."""

import math
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from asvit.measuring import timing
from asvit.measuring.latency import Latency
from asvit.measuring.timing import processor, time_passes
from proxies import PROXIES, measure
from proxies.registry import standard_measures

CPU = torch.device("cpu")
IMAGES = torch.zeros(2, 3, 8, 8)


class Clock:
    """A clock that calls move on, and in whose time they are noted."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[str] = []

    def __call__(self) -> float:
        return self.now

    def taking(self, name: str, seconds: Iterator[float]) -> Callable[[], None]:
        def call() -> None:
            self.calls.append(name)
            self.now += next(seconds)

        return call


def alternate(own: float, other: float) -> tuple[list[float], list[float], list[str]]:
    clock = Clock()
    times = timing._alternate(
        clock.taking("own", iter(lambda: own, None)),
        clock.taking("other", iter(lambda: other, None)),
        CPU,
        clock,
        clock,
    )
    return *times, clock.calls


@pytest.mark.parametrize(
    ("own", "passes"),
    # Of quick ones every other pass is timed, and so is the reference's, which takes 4 ms.
    [(0.001, 100), (0.04, 12), (0.1, 10), (1.0, 10), (5.0, 4), (30.0, 3)],
)
def test_fast_networks_pass_for_a_second_and_slow_ones_ten_times(own: float, passes: int) -> None:
    mine, others, _ = alternate(own, 0.004)
    assert len(mine) == len(others) == pytest.approx(passes, rel=0.05)
    assert mine == pytest.approx([own] * len(mine))
    assert others == pytest.approx([0.004] * len(others))


@pytest.fixture
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "_SECONDS", 0.0)
    monkeypatch.setattr(timing, "_WARM_UP", 0.0)
    monkeypatch.setattr(timing, "_shortest", {})


def test_the_median_and_the_quartiles_in_milliseconds(monkeypatch: pytest.MonkeyPatch) -> None:
    times = ([0.001, 0.002, 0.003, 0.004, 0.1], [0.01, 0.01, 0.02, 0.02, 0.05])
    monkeypatch.setattr(timing, "_alternate", lambda *_: times)
    monkeypatch.setattr(timing, "_shortest", {})
    found = time_passes(lambda: None, IMAGES, runtime="eager")
    assert found == Latency(
        *(pytest.approx(3.0), pytest.approx(2.0), pytest.approx(0.2), 5, pytest.approx(2.0)),
        *(processor(), torch.get_num_threads(), "eager", 2, 8),
    )
    assert found.is_busy
    # A later measurement in which every pass is slow alike is compared with that one.
    monkeypatch.setattr(timing, "_alternate", lambda *_: (times[0], [0.04] * 5))
    assert time_passes(lambda: None, IMAGES).busy == pytest.approx(4.0)


def test_one_thread_is_timed_by_its_processor_time(monkeypatch: pytest.MonkeyPatch) -> None:
    for threads, clock in ((1, "thread_time"), (2, "perf_counter")):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        assert timing._clock(CPU).__name__ == clock
        assert timing._clock(torch.device("cuda")).__name__ == "perf_counter"


@pytest.mark.usefixtures("_short")
def test_a_pass_is_in_evaluation_mode_without_gradients_on_one_image() -> None:
    seen: list[tuple[bool, bool, int]] = []

    class Noted(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.append((self.training, torch.is_inference_mode_enabled(), len(x)))
            return x

    model = Noted()
    assert timing.milliseconds(model, IMAGES) > 0
    assert set(seen) == {(False, True, 1)}
    assert model.training


@pytest.mark.usefixtures("_short")
def test_latency_is_a_measure_that_is_taken_once_and_only_if_named() -> None:
    assert "latency" in PROXIES
    assert "latency" not in standard_measures()
    assert set(standard_measures()) == {*PROXIES} - {"latency"}
    found = measure(nn.Identity, ["latency"], repeats=3, image_size=8, device="cpu")["latency"]
    assert found.better == "lower"
    assert len(found.values) == 1
    assert 0 < found.value < math.inf


@pytest.mark.gpu
@pytest.mark.usefixtures("_short")
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_the_time_is_that_of_the_kernels() -> None:
    images = torch.zeros(1, 3, 8, 8, device="cuda")
    large = torch.randn(4096, 4096, device="cuda")
    slow = time_passes(lambda: large @ large @ large, images)
    assert slow.device == torch.cuda.get_device_name()
    assert slow.milliseconds > time_passes(lambda: images + 1, images).milliseconds

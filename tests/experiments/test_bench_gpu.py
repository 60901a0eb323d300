"""The benchmarks that need a GPU: what of them runs without one."""

import sys
import warnings

import pytest
import torch

from experiments import bench_gpu
from experiments.bench_gpu import waits


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_it_ends_well_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["bench_gpu"])
    bench_gpu.main()
    assert capsys.readouterr().out == "skipped: no CUDA device here\n"


def test_only_waiting_for_the_device_is_counted() -> None:
    def run() -> None:
        for _ in range(3):
            warnings.warn("called a synchronizing CUDA operation", stacklevel=1)
        warnings.warn("something else", stacklevel=1)

    assert waits(run) == 3
    assert waits(lambda: None) == 0


def test_ratios_are_taken_on_any_device(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["bench_gpu", "--topologies", "1", "--image-size", "32", "--runs", "1"]
    monkeypatch.setattr(sys, "argv", words)
    found = bench_gpu._ratios(bench_gpu._options(), torch.device("cpu"))
    assert [one.what for one in found] == [
        "length distortion over a forward pass",
        "condition number over a forward pass",
        "one candidate, 5 networks one by one",
        "one candidate, 5 networks together",
    ]
    assert all(float(one.value.split()[0]) > 0 for one in found)


def test_search_and_scaling_are_timed_on_any_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runs themselves are replaced: that the scripts call them rightly is what is tested."""
    called: dict[str, object] = {}
    monkeypatch.setattr(bench_gpu.asvit, "run_search", lambda **given: called.update(given))
    monkeypatch.setattr(
        bench_gpu.asvit, "run_scaling", lambda text, **given: called.update(given, text=text)
    )
    words = ["bench_gpu", "--steps", "3", "--budget", "2M", "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", words)
    options = bench_gpu._options()
    rows = [*bench_gpu._search(options), *bench_gpu._scale(options)]
    assert [row.what for row in rows] == ["search, 3 steps", "scaling to 2M"]
    assert [row.aim for row in rows] == ["60 s for 500", "180 s for 88M"]
    assert (called["steps"], called["budget"], called["device"]) == (3, "2M", "cpu")

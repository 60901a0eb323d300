"""Latencies of architectures and modules, by every runtime; what cannot be timed says why."""

import copy
import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import asvit
from asvit.core.shared_settings import RUNTIME_NAMES
from asvit.measuring import timing
from asvit.runs.timing import device_names, devices, fresh_latency
from proxies import PROXIES, Inputs

TEXT = "4,8,2|2,4,2|2,2,2|2,1,2|16"


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "_SECONDS", 0.0)
    monkeypatch.setattr(timing, "_WARM_UP", 0.0)


class Doubled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3 * 8 * 8, 2)
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.drop(self.fc(x.flatten(1)))
        return out


def test_an_architecture_is_timed_on_the_processor() -> None:
    found = asvit.latency(TEXT, image_size=32, batch=2)
    assert found.milliseconds > 0
    assert found.busy >= 1
    assert (found.runtime, found.batch, found.image_size) == ("eager", 2, 32)
    assert (found.device, found.threads) == (timing.processor(), torch.get_num_threads())


def test_a_parsed_architecture_and_one_of_timm() -> None:
    assert asvit.latency(asvit.Genotype.parse(TEXT), 32).milliseconds > 0
    assert asvit.latency("timm:resnet10t", 32, num_classes=3).milliseconds > 0


def test_onnx_runtime_times_the_same_network() -> None:
    pytest.importorskip("onnxruntime")
    found = asvit.latency(Doubled(), 8, 3, runtime="onnx")
    assert found.milliseconds > 0
    assert (found.runtime, found.batch) == ("onnx", 3)


def test_a_module_is_left_as_it_was() -> None:
    model = Doubled()
    before = copy.deepcopy(model.state_dict())
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    asvit.latency(model, 8)
    asvit.latency(TEXT, 32)
    assert torch.rand(1) == expected
    assert all(part.training for part in model.modules())
    assert all(torch.equal(before[name], now) for name, now in model.state_dict().items())


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"batch": 0}, "batch must be at least 1, got 0"),
        ({"image_size": -1}, "image_size must be at least 1, got -1"),
        ({"runtime": "onxx"}, "unknown runtime 'onxx'; did you mean 'onnx'"),
        ({"device": "cuda:99"}, "device 'cuda:99' is not available; use 'auto' or 'cpu'"),
        ({"device": "toaster"}, "device 'toaster' is not available"),
        ({"device": "meta"}, "device 'meta' computes nothing"),
        (
            {"image_size": 16},
            r"runtime 'eager' cannot run Doubled on \(1, 3, 16, 16\) images: .*mat1 and mat2",
        ),
    ],
)
def test_what_cannot_be_timed_says_why_in_a_line(given: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words) as refusal:
        asvit.latency(Doubled(), **{"image_size": 8, **given})
    assert len(str(refusal.value).splitlines()) == 1


def test_a_process_of_its_own_times_a_network() -> None:
    time = fresh_latency(TEXT, image_size=32, batch=2, num_classes=5)
    assert (time.batch, time.image_size, time.runtime) == (2, 32, "eager")
    assert time.threads == torch.get_num_threads()
    assert time.milliseconds > 0


def test_the_devices_are_those_of_torch() -> None:
    assert device_names()[0] == "cpu"
    (cpu, *others) = devices()
    assert str(cpu["description"]).startswith(timing.processor())
    assert len(others) == (
        torch.accelerator.device_count() if torch.accelerator.is_available() else 0
    )
    assert all("onnx" not in str(device["runtimes"]) for device in others)
    assert set(str(cpu["runtimes"]).split(", ")) <= set(RUNTIME_NAMES)


def test_a_search_times_each_network_once_and_on_one_processor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[float] = []
    proxy = PROXIES["latency"]

    def value(model: nn.Module, inputs: Inputs) -> float:
        taken.append(proxy.value(model, inputs))
        return taken[-1]

    monkeypatch.setitem(PROXIES, "latency", replace(proxy, value=value))
    small: dict[str, Any] = {"image_size": 32, "repeats": 1, "images": 4, "points": 3}
    small |= {"space": "asvit-tiny", "proxies": ("latency", "params"), "out": tmp_path / "run"}
    asvit.run_search(steps=2, **small)
    before = list(taken)
    asvit.run_search(steps=2, **small)
    assert taken == before
    rows = list(csv.DictReader((tmp_path / "run" / "trials.csv").read_text().splitlines()))
    assert [float(row["latency"]) for row in rows] == pytest.approx(before[:2])
    monkeypatch.setattr("asvit.runs.algorithms.measuring.timed_on", lambda _device: "another")
    with pytest.raises(ValueError, match=r"was started with timed on .* \(now another\)"):
        asvit.run_search(steps=3, **small)

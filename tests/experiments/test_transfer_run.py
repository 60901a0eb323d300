"""The training of a detector or a segmenter, on a task of a few numbers."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from asvit.training.distributed import ProcessGroup
from experiments import transfer_run
from experiments.transfer_data import Sample
from experiments.transfer_run import Execution, Metrics, read_weights, train
from experiments.transfer_settings import TransferSettings, linear_decay

SETTINGS = TransferSettings(
    arch="none", data="none", image_size=32, weights="", epochs=3, batch_size=2,
    learning_rate=0.05, weight_decay=0.01, warmup=1, drop_path=0.0, frozen_stages=0,
    scale=(1.0, 1.0), clip=1.0, norms=False, windows=0, seed=5,
)  # fmt: skip


FILE = "checkpoint.safetensors"


class Points(Dataset[Sample]):
    def __len__(self) -> int:
        return 7

    def __getitem__(self, index: int) -> Sample:
        return torch.tensor([float(index), 1.0]), torch.tensor([2.0 * index - 1.0])


class Line(nn.Module):
    """A line through points, with dropout and statistics of batches."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(2)
        self.map = nn.Linear(2, 1)
        self.drop = nn.Dropout(0.1)

    def forward(self, x: Tensor, wanted: Tensor) -> dict[str, Tensor]:
        gap = self.map(self.drop(self.norm(x))) - wanted
        return {"square": gap.square().mean(), "size": 0.1 * gap.abs().mean()}


class Fit:
    def __init__(self) -> None:
        self.model: nn.Module = Line()
        self.images = Points()
        self.indices: Sequence[int] = range(1, 7)
        self.transform = lambda x, wanted: (x + 0.01 * torch.rand(2), wanted)

    def batch(self, samples: list[Sample], device: torch.device) -> tuple[Any, Any]:
        xs, wanted = zip(*samples, strict=True)
        return torch.stack(xs).to(device), torch.stack(wanted).to(device)

    def lr_factor(self, step: int, steps: int) -> float:
        return linear_decay(step, steps, warmup=1)

    def evaluate(self, processes: ProcessGroup) -> Metrics:
        return {"weight": float(self.model.map.weight.detach()[0, 0])}


class Stop(Exception):
    pass


def stop_after(epoch: int) -> Callable[[Metrics], None]:
    def report(metrics: Metrics) -> None:
        if metrics["epoch"] == epoch:
            raise Stop

    return report


def without_times(history: list[Metrics]) -> list[Metrics]:
    return [{n: v for n, v in line.items() if n != "train_seconds"} for line in history]


def run(out: str, settings: TransferSettings = SETTINGS, **options: Any) -> list[Metrics]:
    return without_times(train(Fit, settings, Path(out), execution=Execution("cpu"), **options))


def test_losses_fall_and_a_line_of_json_tells_each_epoch() -> None:
    reported: list[Metrics] = []
    settings = replace(SETTINGS, epochs=30)
    history = run("run", settings, report=reported.append)
    assert history[-1]["loss"] < 0.5 * history[0]["loss"]
    lines = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    assert without_times(lines) == without_times(reported) == history
    assert [line["epoch"] for line in lines] == list(range(1, 31))
    assert lines[-1]["steps"] == 90  # three batches of two from six points
    for line in lines:
        assert line["loss"] == pytest.approx(line["square"] + line["size"], rel=1e-5)
    assert lines[0]["learning_rate"] == pytest.approx(0.05 * (1 - 2 / 90))


@pytest.mark.parametrize("epoch", [1, 2])
def test_a_stopped_training_goes_on_to_the_same_bits(epoch: int) -> None:
    expected = run("whole")
    with pytest.raises(Stop):
        run("stopped", report=stop_after(epoch))
    assert len(Path("stopped/metrics.jsonl").read_text().splitlines()) == epoch
    torch.rand(3)  # another process would be elsewhere in its random numbers
    assert run("stopped") == expected
    whole, stopped = (read_weights(Path(name) / FILE) for name in ("whole", "stopped"))
    assert whole.keys() == stopped.keys()
    for name, tensor in whole.items():
        assert torch.equal(tensor, stopped[name]), name


def test_any_number_of_readers_gives_the_same_and_a_finished_one_is_not_done_again() -> None:
    expected = run("run")
    read = train(Fit, SETTINGS, Path("readers"), execution=Execution("cpu", workers=2))
    assert without_times(read) == expected
    before = (Path("run") / FILE).stat().st_mtime_ns
    assert run("run") == expected
    assert (Path("run") / FILE).stat().st_mtime_ns == before


def test_another_seed_gives_another_training() -> None:
    assert run("first")[0]["loss"] != run("second", replace(SETTINGS, seed=6))[0]["loss"]


def test_a_full_disk_leaves_the_last_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = run("whole")
    written = transfer_run.write_tensors

    def full(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
        if len(calls) == 1:
            raise OSError(28, "No space left on device", str(path))
        calls.append(path)
        written(path, tensors, header)

    calls: list[Path] = []
    with monkeypatch.context() as patch:
        patch.setattr(transfer_run, "write_tensors", full)
        with pytest.raises(OSError, match="No space left"):
            run("full")
    assert len(Path("full/metrics.jsonl").read_text().splitlines()) == 1
    assert run("full") == expected


def test_a_loss_that_is_not_finite_stops_and_leaves_the_last_checkpoint() -> None:
    class Bursting(Fit):
        def lr_factor(self, step: int, steps: int) -> float:
            return math.inf if step == 3 else 1.0

    with pytest.raises(ValueError, match=r"the loss became .*in step 5 of 9; use a lower"):
        train(Bursting, SETTINGS, Path("run"), execution=Execution("cpu"))
    weights = read_weights(Path("run") / FILE)
    assert all(tensor.isfinite().all() for tensor in weights.values())
    assert len(Path("run/metrics.jsonl").read_text().splitlines()) == 1


def test_other_settings_are_refused_and_fresh_starts_over() -> None:
    run("run")
    other = replace(SETTINGS, learning_rate=0.1)
    with pytest.raises(ValueError, match=r"learning_rate 0.05 \(now 0.1\).*--fresh"):
        run("run", other)
    assert run("run", other, fresh=True)[0]["loss"] != run("first")[0]["loss"]


@pytest.mark.parametrize("content", [b"", b"nothing", b"\x02\0\0\0\0\0\0\0{}"])
def test_a_damaged_checkpoint(content: bytes) -> None:
    run("run")
    (Path("run") / FILE).write_bytes(content)
    with pytest.raises(ValueError, match="is no checkpoint that this version can read") as refusal:
        run("run")
    assert "\n" not in str(refusal.value)


def test_frozen_weights_stay() -> None:
    class Frozen(Fit):
        def __init__(self) -> None:
            super().__init__()
            self.model.map.bias.requires_grad_(False)

    train(Frozen, SETTINGS, Path("run"), execution=Execution("cpu"))
    torch.manual_seed(transfer_run.seed_for(SETTINGS.seed, "weights"))
    fresh = Line().state_dict()
    trained = read_weights(Path("run") / FILE)
    assert torch.equal(trained["map.bias"], fresh["map.bias"])
    assert not torch.equal(trained["map.weight"], fresh["map.weight"])

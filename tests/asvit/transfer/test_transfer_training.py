"""Settings, options, schedules and the training of detectors and segmenters."""

import argparse
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from run_script import Script
from safetensors.torch import save_file
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from tiny_scenes import SHARED, make_ade, make_coco
from torch import Tensor, nn
from torch.utils.data import Dataset

from asvit.networks import Network, WeightsFile
from asvit.training.distributed import ProcessGroup
from experiments import train_detection, train_segmentation, transfer_run
from experiments.transfer_data import Sample
from experiments.transfer_run import Execution, Metrics, read_weights, train
from experiments.transfer_settings import (
    TransferSettings,
    build_pyramid,
    linear_decay,
    normalisation,
    run_cli,
    step_decay,
)

SETTINGS = TransferSettings(
    arch="none", data="none", image_size=32, weights="", epochs=3, batch_size=2,
    learning_rate=0.05, weight_decay=0.01, warmup=1, drop_path=0.0, frozen_stages=0,
    scale=(1.0, 1.0), clip=1.0, norms=False, windows=0, seed=5,
)  # fmt: skip

AS_VIT = SHARED["arch"]


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"image_size": 16}, "image_size must be at least 32"),
        ({"drop_path": 1.0}, "drop_path must be a number at least 0 and below 1"),
        ({"scale": (2.0, 1.0)}, r"scale must be two numbers, least first, got \(2.0, 1.0\)"),
        ({"data": ""}, "data must be a name"),
        ({"arch": ""}, "name an architecture"),
    ],
)
def test_values_out_of_range(changes: dict[str, object], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        replace(SETTINGS, **changes)  # type: ignore[arg-type]


def test_schedules_at_single_steps() -> None:
    assert [linear_decay(s, 4, warmup=0) for s in range(4)] == [1, 0.75, 0.5, 0.25]
    marks = [step_decay(s, 4, warmup=1, marks=(0.5, 0.75)) for s in range(4)]
    assert marks == pytest.approx([0.5, 1, 0.1, 0.01])


def test_the_network_and_the_colours_come_from_the_weights(tmp_path: Path) -> None:
    network = Network(AS_VIT, image_size=32, num_classes=2)
    file = tmp_path / "weights.safetensors"
    facts = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}
    WeightsFile(network, network.build().state_dict(), facts=facts).write(file)
    settings = replace(SETTINGS, arch="", weights=str(file), image_size=64)
    assert build_pyramid(settings).channels == (16, 32, 64, 128)
    assert normalisation(settings) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    save_file(network.build().state_dict(), file)
    imagenet = (tuple(IMAGENET_DEFAULT_MEAN), tuple(IMAGENET_DEFAULT_STD))
    assert normalisation(settings) == normalisation(SETTINGS) == imagenet
    with pytest.raises(ValueError, match="name the architecture"):
        build_pyramid(settings)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ValueError("this is wrong\nand more"), 3, "error: this is wrong\n"),
        (FileNotFoundError("no file"), 3, "error: no file\n"),
        (ImportError("this needs a library"), 3, "error: this needs a library\n"),
        (KeyboardInterrupt(), 130, "interrupted; the same command resumes"),
        (None, 0, ""),
    ],
)
def test_errors_become_one_line_and_an_exit_code(
    error: BaseException | None, code: int, said: str, script: Script
) -> None:
    def run(options: argparse.Namespace) -> None:
        if error is not None:
            raise error

    script(lambda: run_cli(argparse.ArgumentParser(), run))
    assert script.code == code
    assert script.err.startswith(said)


@pytest.mark.parametrize(
    ("module", "data", "defaults"),
    [
        (train_detection, "COCO", (1024, 36, 16, 1e-4, 0.05)),
        (train_segmentation, "ADE20K", (512, 127, 16, 6e-5, 0.01)),
    ],
)
def test_a_line_gives_the_settings_and_defaults_are_those_of_the_docs(
    module: ModuleType,
    data: str,
    defaults: tuple[float, ...],
    monkeypatch: pytest.MonkeyPatch,
    script: Script,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit, match="0"):
        script(module.main, "--help")
    shown = capsys.readouterr().out
    assert data in shown
    assert f"(default {defaults[0]})" in shown
    seen: list[TransferSettings] = []
    spy = lambda _make, settings, _options: seen.append(settings)  # noqa: E731
    monkeypatch.setattr(module, "train_from_options", spy)
    script(module.main, f"{AS_VIT} --data folder")
    script(module.main, f"{AS_VIT} --data folder --epochs 4 --scale 0.5 2 --no-norms")
    names = ("image_size", "epochs", "batch_size", "learning_rate", "weight_decay")
    assert tuple(getattr(seen[0], name) for name in names) == defaults
    assert seen[1] == replace(seen[0], epochs=4, scale=(0.5, 2.0), norms=False)


LINE = "--data data --image-size 64 --epochs 1 --batch-size 4 --device cpu --out run"
DETECTION = f"{LINE} --train train --validation val --fpn 32 --anchor 4 --regions 16"
SEGMENTATION = f"{LINE} --classes 3 --head 32"


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools'
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (f"{DETECTION} psvit1d:b-----|b-----|b-----|16", "stride 16 px only"),
        (f"{DETECTION} 8,4,2|4,4,2", "error: "),
        (f"{DETECTION} {AS_VIT} --weights missing.pth", "no file of weights 'missing.pth'"),
        (f"{DETECTION} {AS_VIT} --data elsewhere", "give a folder in COCO's format"),
        (f"{DETECTION} {AS_VIT} --epochs 0", "epochs must be at least 1"),
        (f"{DETECTION} {AS_VIT} --device nowhere", "device 'nowhere' is not available"),
        (f"{DETECTION} {AS_VIT}", "000002.png"),  # is truncated
        (DETECTION, "name an architecture"),
        (f"{SEGMENTATION} {AS_VIT} --classes 2", "has class 3, not up to 2"),
        (f"{SEGMENTATION} {AS_VIT} --classes 300", "classes must be at most 255, got 300"),
        (f"{SEGMENTATION} {AS_VIT} --batch-size 1", "batch_size must be at least 2"),
        (f"{SEGMENTATION} {AS_VIT} --data elsewhere", "give one in ADE20K's format"),
        (f"{SEGMENTATION} timm:deit_tiny_patch16_224", "stride 16 px only"),
        (f"{SEGMENTATION} {AS_VIT} --batch-size 16", "batch_size=16 for 4 training images"),
    ],
)
def test_errors_are_one_line(words: str, said: str, script: Script) -> None:
    module, make, parts = (
        (train_detection, make_coco, ("train", "val"))
        if words.startswith(DETECTION)
        else (train_segmentation, make_ade, ("training", "validation"))
    )
    for part in parts:
        make(Path("data"), part, images=4)
    truncated = Path("data/train/000002.png")
    if truncated.exists():
        truncated.write_bytes(truncated.read_bytes()[:400])
    script(module.main, words)
    assert script.code == 3
    assert said in script.err
    assert script.err.count("\n") == 1


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

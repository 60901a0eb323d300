"""Settings, options and schedules of detectors and segmenters."""

import argparse
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from run_script import Script
from safetensors.torch import save_file
from test_transfer_run import SETTINGS
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from tiny_scenes import make_ade, make_coco

from asvit.networks import Network, WeightsFile
from experiments import train_detection, train_segmentation
from experiments.transfer_settings import (
    TransferSettings,
    build_pyramid,
    linear_decay,
    normalisation,
    run_cli,
    step_decay,
)

AS_VIT = "8,4,2|4,4,2|2,1,2|2,1,2|16,16"


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

"""The two loops that are timed train the same network on the same pictures."""

from pathlib import Path

import pytest
import torch
from run_script import Script

from asvit.training.settings import TrainSettings
from experiments import bench_training
from experiments.bench_training import WAYS, measured, write_pictures

# timm leaves the files of its pictures to the garbage collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
SETTINGS = TrainSettings.make(
    architecture="timm:deit_tiny_patch16_224", image_size=32, batch_size=4, epochs=3, ema=0.9,
    auto_augment=bench_training.AUGMENT,
)  # fmt: skip


def test_both_ways_are_timed_in_every_epoch_on_classes_of_equal_size(tmp_path: Path) -> None:
    write_pictures(tmp_path, 8, side=40)
    found = [len(list(path.iterdir())) for path in sorted(tmp_path.iterdir())]
    assert found == [8 // bench_training.CLASSES] * bench_training.CLASSES
    times = measured(SETTINGS, tmp_path, 0, "cpu")
    assert list(times) == list(WAYS)
    assert all(len(seconds) == SETTINGS.epochs - 1 for seconds in times.values())
    assert all(second > 0 for seconds in times.values() for second in seconds)


def test_both_start_from_the_same_weights() -> None:
    a, b = bench_training.network(SETTINGS), bench_training.network(SETTINGS)
    assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


def test_the_script_prints_both_and_their_ratio(script: Script) -> None:
    line = "--image-size 32 --batch 4 --steps 1 --epochs 1"
    threads = torch.get_num_threads()
    try:
        lines = script(bench_training.main, line).splitlines()
    finally:
        torch.set_num_threads(threads)
    assert [line.strip().split("  ")[0] for line in lines[1:3]] == list(WAYS)
    assert lines[3].startswith("ratio ")

"""Trainings stopped within an epoch go on at the update; kills of processes: tests/faults."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asvit.core.progress import Progress
from asvit.runs.training import run_training
from asvit.training.metrics import read_metrics
from tests.asvit.runs.test_runs_train import ARCH, TINY, same, weights

#: Everything that is drawn or summed up: drop-path, augmentation; mixing has a test of its own.
RICH: dict[str, Any] = {
    **TINY, "recipe": "deit", "epochs": 2, "warmup_epochs": 1, "mixup": 0.0, "cutmix": 0.0,
}  # fmt: skip
STEPS = 3  # updates of an epoch
ALWAYS = 1e-9  # minutes: a checkpoint after every update


def stop_at(count: int) -> Callable[[Progress], None]:
    """Stops when the progress of so many updates or epochs is told."""
    told = 0

    def follow(progress: Progress) -> None:
        nonlocal told
        told += progress.unit == "epoch"
        if told == count:
            raise KeyboardInterrupt

    return follow


def stopped(folder: Path, count: int, **given: Any) -> None:
    """A training with a checkpoint after every update, which is stopped."""
    how = {"checkpoint_minutes": ALWAYS, "progress": stop_at(count)}
    with pytest.raises(KeyboardInterrupt):
        run_training(ARCH, out=folder, **how, **given)


def without_times(folder: Path) -> Any:
    rows = [dict(vars(row)) for row in read_metrics(folder / "metrics.csv")]
    for row in rows:
        assert row.pop("seconds") > 0
        assert row.pop("images_per_second") > 0
    return rows


def check_same(ours: Path, theirs: Path) -> None:
    for name in ("model", "best"):
        assert same(weights(ours, name), weights(theirs, name)), name
    assert without_times(ours) == without_times(theirs)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training with checkpoints at the ends of epochs alone."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    run_training(ARCH, out=folder, checkpoint_minutes=0, **RICH)
    return folder


def test_stopped_at_every_update_it_ends_in_the_same(tmp_path: Path, undisturbed: Path) -> None:
    folder = tmp_path / "run"
    for _ in range(2 * STEPS - 2):
        stopped(folder, 2, **RICH)
    run_training(ARCH, out=folder, **RICH)
    check_same(folder, undisturbed)


def test_coarse_tokens_and_mixed_images_go_on(tmp_path: Path) -> None:
    given = {**RICH, "mixup": 0.8, "cutmix": 1.0, "retokenize": "1/0/1"}
    run_training(ARCH, out=tmp_path / "whole", checkpoint_minutes=0, **given)
    for count in (2, 5):
        stopped(tmp_path / "run", count, **given)
    run_training(ARCH, out=tmp_path / "run", **given)
    check_same(tmp_path / "run", tmp_path / "whole")

"""A tiny training in a process of its own, for tests to stop."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from asvit.networks import WeightsFile
from asvit.runs.training import run_training
from asvit.training import session as train_session
from asvit.training.checkpoint import Checkpoint
from asvit.training.engine import Engine
from asvit.training.session import Session
from tests.traps import Places, Stop, exit_codes, stop_at

ARCHITECTURE = "4,2,2|4,1,2|4,1,2|4,1,2|16,8"
# Everything that draws: drop-path, dropout, mixing, erasing, crops; and tokens that change.
TRAINING: dict[str, Any] = {
    "recipe": "small", "data": "fractal", "classes": 3, "train_images": 24,
    "validation_images": 9, "image_size": 32, "epochs": 3, "batch_size": 6, "warmup_epochs": 1,
    "drop_path": 0.3, "drop": 0.2, "mixup": 0.5, "cutmix": 0.5, "erasing": 0.5, "ema": 0.9,
    "retokenize": "1/1/1", "device": "cpu", "workers": 0,
}  # fmt: skip

_PLACES: Places = {
    "fsync": (os, "fsync"),  # written, but not known to be
    "update": (Engine, "_update"),
    "validate": (Engine, "validate"),
    "weights": (WeightsFile, "write"),
    "checkpoint": (Checkpoint, "write"),
    "metrics": (train_session, "write_metrics"),
    "finish": (Session, "finish"),  # all trained, no result yet
}


def train(folder: Path, stop: Stop | None = None) -> None:
    """Train in ``folder``; an interrupt exits with 130."""
    stop_at(_PLACES, stop)
    with exit_codes():
        run_training(ARCHITECTURE, out=folder, **TRAINING)

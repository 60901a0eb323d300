"""A tiny training in a process of its own, for tests to stop."""

from __future__ import annotations

import functools
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from asvit.networks import WeightsFile
from asvit.runs.training import asked as train_asked
from asvit.runs.training import session as train_session
from asvit.runs.training.run import run_training
from asvit.training.checkpoint import Checkpoint
from asvit.training.engine import Engine

# Where a process stops itself, the how-manieth time it passes there, and by which signal.
Stop = tuple[str, int, int]

ARCHITECTURE = "4,2,2|4,1,2|4,1,2|4,1,2|16,8"
# Everything that draws: drop-path, dropout, mixing, erasing, crops; and tokens that change.
TRAINING: dict[str, Any] = {
    "recipe": "small", "data": "fractal", "classes": 3, "train_images": 24,
    "validation_images": 9, "image_size": 32, "epochs": 3, "batch_size": 6, "warmup_epochs": 1,
    "drop_path": 0.3, "drop": 0.2, "mixup": 0.5, "cutmix": 0.5, "erasing": 0.5, "ema": 0.9,
    "retokenize": "1/1/1", "device": "cpu", "workers": 0,
}  # fmt: skip

_PLACES: dict[str, tuple[Any, str]] = {
    "fsync": (os, "fsync"),  # written, but not known to be
    "update": (Engine, "_update"),
    "validate": (Engine, "validate"),
    "weights": (WeightsFile, "write"),
    "checkpoint": (Checkpoint, "write"),
    "metrics": (train_session, "write_metrics"),
    "result": (train_asked, "TrainResult"),  # all trained, no result yet
}


def train(folder: Path, stop: Stop | None = None, seconds: float | None = None) -> None:
    """Train in ``folder``; an interrupt exits with 130.

    Args:
        folder: Run folder.
        stop: Where this process stops itself.
        seconds: After how long it kills itself, wherever it is then.
    """
    if stop is not None:
        _stop_at(stop)
    if seconds is not None:
        _kill_after(seconds)
    try:
        run_training(ARCHITECTURE, out=folder, **TRAINING)
    except KeyboardInterrupt:
        sys.exit(130)


def _kill_after(seconds: float) -> None:
    """Have a helper process kill this one with SIGKILL."""
    parent = os.getpid()
    if os.fork() == 0:
        time.sleep(seconds)
        if os.getppid() == parent:  # else it has ended, and its number may be another's
            os.kill(parent, signal.SIGKILL)
        os._exit(0)


def _stop_at(stop: Stop) -> None:
    """Have this process stop itself at ``stop``."""
    point, count, number = stop
    where, name = _PLACES[point]
    function = getattr(where, name)
    passed = 0

    @functools.wraps(function, updated=())
    def wrapped(*arguments: Any, **named: Any) -> Any:
        nonlocal passed
        passed += 1
        if passed == count:
            os.kill(os.getpid(), number)
            time.sleep(60)  # until the signal is here
        return function(*arguments, **named)

    setattr(where, name, wrapped)

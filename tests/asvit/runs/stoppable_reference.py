"""A table whose networks are never trained, in a process of its own, for tests to stop."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from zlib import crc32

import asvit.reference.trainer as reference_trainer
import asvit.runs.reference as runs_reference
from asvit.reference.build import Outcome, Training
from asvit.reference.build_settings import BuildSettings
from tests.traps import Places, Stop, exit_codes, limit_files, stop_at

SETTINGS = {"preset": "quick", "n": 6, "device": "cpu"}


class FakeTrainer:
    """Outcomes that follow from the training; one in eight fails."""

    num_classes = 10
    provenance: Mapping[str, str] = {"source": "fake images", "digest": "f" * 64}
    sleep = 0.0

    def __init__(self, _settings: BuildSettings, _device: str, **_: object) -> None: ...

    def __call__(self, training: Training) -> Outcome:
        """Pretend to train."""
        time.sleep(self.sleep)
        drawn = crc32(repr(training).encode())
        if drawn % 8 == 0:
            return Outcome(math.nan, math.nan, 1.0, "the loss became nan in step 1")
        return Outcome(drawn % 9973 / 100, 1.0, 1.0)


_PLACES: Places = {
    "fsync": (os, "fsync"),  # written, but not known to be
    "training": (FakeTrainer, "__call__"),
    "table": (runs_reference, "write_text"),
    "result": (runs_reference.BuildResult, "__init__"),  # all trained, no result yet
}


def faked(setattr_: Callable[[object, str, object], None] = setattr) -> None:
    """Put the fake in place."""
    setattr_(reference_trainer, "Trainer", FakeTrainer)


def run(
    folder: Path,
    settings: Mapping[str, Any],
    *,
    stop: Stop | None = None,
    sleep: float = 0.0,
    largest_file: int | None = None,
) -> None:
    """Build in ``folder``; an interrupt exits with 130, a file that grows too large with 3."""
    faked()
    FakeTrainer.sleep = sleep
    limit_files(largest_file)
    stop_at(_PLACES, stop)
    with exit_codes():
        runs_reference.build_reference(out=folder, **{**SETTINGS, **settings})

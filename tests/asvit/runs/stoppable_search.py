"""A search whose measures cost nothing, in a process of its own, for tests to stop."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any
from zlib import crc32

import asvit.runs.search as runs_search
from asvit.search import Measurement
from tests.traps import Places, Stop, exit_codes, limit_files, stop_at


def fake_evaluate(text: str) -> Measurement:
    """Values that follow from the text; one architecture in eight fails."""
    drawn = crc32(text.encode())
    kappa = float("nan") if drawn % 8 == 0 else 1.0 + drawn % 977
    reasons = {"ntk_condition_number": "the kernel is singular"} if drawn % 8 == 0 else {}
    values = {"length_distortion": (drawn % 1013) / 7, "ntk_condition_number": kappa}
    return Measurement(drawn % 100_000, drawn % 1_000_000, values, reasons)


_PLACES: Places = {
    "evaluate": (sys.modules[__name__], "fake_evaluate"),
    "fsync": (os, "fsync"),  # written, but not known to be
    "unlink": (os, "unlink"),  # in the middle of giving the journal's lock back
    "table": (runs_search, "write_trials"),  # about to write trials.csv
    "result": (runs_search.SearchResult, "__init__"),  # all measured, no result yet
}


def run(
    folder: Path,
    settings: dict[str, Any],
    *,
    stop: Stop | None = None,
    sleep: float = 0.0,
    largest_file: int | None = None,
) -> None:
    """Search in ``folder``; an interrupt exits with 130, a file that grows too large with 3."""

    def evaluate(text: str) -> Measurement:
        time.sleep(sleep)
        return fake_evaluate(text)

    runs_search.SearchRun.write_report = lambda _self, _folder=None: None  # type: ignore[method-assign,assignment]  # slow
    limit_files(largest_file)
    stop_at(_PLACES, stop)
    with exit_codes():
        runs_search.run_search(out=folder, evaluate=evaluate, **settings)

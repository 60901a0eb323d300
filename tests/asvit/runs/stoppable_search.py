"""A search whose measures cost nothing, in a process of its own, for tests to stop."""

from __future__ import annotations

import functools
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zlib import crc32

import asvit.runs.search as runs_search
from asvit.search import Measurement

# Where a process stops itself, the how-manieth time it passes there, and by which signal.
Stop = tuple[str, int, int]


def fake_evaluate(text: str) -> Measurement:
    """Values that follow from the text; one architecture in eight fails."""
    drawn = crc32(text.encode())
    kappa = float("nan") if drawn % 8 == 0 else 1.0 + drawn % 977
    reasons = {"ntk_condition_number": "the kernel is singular"} if drawn % 8 == 0 else {}
    values = {"length_distortion": (drawn % 1013) / 7, "ntk_condition_number": kappa}
    return Measurement(drawn % 100_000, drawn % 1_000_000, values, reasons)


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

    runs_search._write_report = lambda _folder: None  # slow, and tested elsewhere
    if largest_file is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    if stop is not None:
        evaluate = _stopping(evaluate, stop)
    try:
        runs_search.run_search(out=folder, evaluate=evaluate, **settings)
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError:
        sys.exit(3)


def _stopping(evaluate: Callable[[str], Measurement], stop: Stop) -> Callable[[str], Measurement]:
    """Have this process stop itself at ``stop``; return the evaluation to use."""
    point, count, number = stop
    passed = 0

    def once_passed(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapped(*arguments: Any, **named: Any) -> Any:
            nonlocal passed
            passed += 1
            if passed == count:
                os.kill(os.getpid(), number)
                time.sleep(60)  # until the signal is here
            return function(*arguments, **named)

        return wrapped

    if point == "evaluate":
        return once_passed(evaluate)
    if point == "fsync":  # written, but not known to be
        os.fsync = once_passed(os.fsync)
    elif point == "unlink":  # in the middle of giving the journal's lock back
        os.unlink = once_passed(os.unlink)
    elif point == "table":  # about to write trials.csv
        runs_search.write_trials = once_passed(runs_search.write_trials)
    elif point == "result":  # all measured, no result yet
        runs_search.pareto_front = once_passed(runs_search.pareto_front)
    return evaluate

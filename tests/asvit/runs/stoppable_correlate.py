"""A correlation whose networks are never built, in a process of its own, for tests to stop."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import asvit.core.records as records
from asvit.reference import load_reference, query
from asvit.runs import correlation, measurement_pool
from proxies import Score, get_proxy
from tests.traps import Places, Stop, exit_codes, limit_files, stop_at

_PLACES: Places = {
    "fsync": (os, "fsync"),  # written, but not known to be
    "append": (records.json, "dumps"),  # measured, not yet written
    "measure": (measurement_pool, "measure"),
    "table": (correlation, "write_text"),  # about to write values.csv or correlations.csv
    "result": (query, "correlate_all"),  # all measured, no result yet
}

SETTINGS = {"data": "gaussian", "images": 2, "points": 3}
ARCHITECTURES = [
    f"4,8,{ratio}|2,4,{ratio}|2,2,2|2,1,2|{width}" for ratio in (2, 4) for width in (16, 32, 64)
] + ["8,8,2|2,4,2|2,2,4|2,1,2|16"]
FAILING = ARCHITECTURES[4]


def write_table(path: Path, *, change: float = 0.0) -> Path:
    """A table of tiny architectures with two made-up accuracies; the last row has one only."""
    lines = ["# num_classes: 10", "# default_target: top1"]
    lines += ["# target: top1 | made up | scratch", "# target: other | made up, too | unknown"]
    lines += ["# noise_ceiling: top1 | 0.9", "architecture,image_size,top1,other"]
    for place, text in enumerate(ARCHITECTURES):
        other = "" if place == len(ARCHITECTURES) - 1 else str(40 - place)
        lines.append(f'"{text}",32,{50 + (place * 5) % 7 + change},{other}')
    path.write_text("\n".join(lines) + "\n")
    return path


def fake_measure(
    _build: Callable[[], object], names: Sequence[str], *, key: str, **_: Any
) -> dict[str, Score]:
    """Values that follow from the text; one architecture has a singular kernel."""
    found = {}
    for name in names:
        value = 1.0 + crc32(f"{key} {name}".encode()) % 9973
        better = get_proxy(name).better
        if (name, key) == ("ntk_condition_number", FAILING):
            why = "repeat 1 of 2: the kernel is singular"
            found[name] = Score(float("nan"), float("nan"), (float("nan"),), better, why)
        else:
            found[name] = Score(value, 0.5, (value - 0.5, value + 0.5), better)
    return found


def faked(setattr_: Callable[[object, str, object], None] = setattr) -> None:
    """Put the fakes in place; no report is written, as that is slow and tested elsewhere."""
    setattr_(measurement_pool, "measure", fake_measure)
    setattr_(correlation.CorrelationRun, "write_report", staticmethod(lambda _folder: None))


def run(
    folder: Path,
    table: Path,
    settings: dict[str, Any],
    *,
    stop: Stop | None = None,
    largest_file: int | None = None,
) -> None:
    """Correlate in ``folder``; an interrupt exits with 130, a file that grows too large with 3."""
    faked()
    limit_files(largest_file)
    stop_at(_PLACES, stop)
    reference = load_reference(table, check=False)
    with exit_codes():
        correlation.run_correlation(reference, out=folder, **{**SETTINGS, **settings})

"""A scaling whose networks are never built, in a process of its own, for tests to stop."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import asvit.runs.scale as runs_scale
import scaling.meter
from asvit.runs.growable import Growable
from proxies import Cost, Score
from tests.traps import Places, Stop, exit_codes, limit_files, stop_at

_PLACES: Places = {
    "fsync": (os, "fsync"),  # written, but not known to be
    "measure": (scaling.meter, "measure"),
    "table": (runs_scale, "write_text"),  # about to write steps.csv or candidates.csv
    "result": (runs_scale.ScaleResult, "__init__"),  # all measured, no result yet
}

ARCHITECTURE = "4,8,2|2,4,2|2,2,2|2,1,2|16"
SETTINGS = {
    "budget": "2M,8M", "data": "gaussian", "image_size": 32,
    "images": 2, "repeats": 1, "points": 3,
}  # fmt: skip


def fake_cost(_self: Growable, depths: tuple[int, ...], width: int) -> Cost:
    """Roughly what the network costs."""
    params = 1000 * width + sum(d * 8 * (width * 2**i) ** 2 for i, d in enumerate(depths))
    return Cost(params, 100 * params)


def fake_measure(build: Callable[[], object], names: Sequence[str], **_: Any) -> dict[str, Score]:
    """Values that follow from the shape; one network in eight has a singular kernel."""
    drawn = crc32(repr(build()).encode())
    kappa = float("nan") if drawn % 8 == 0 else 1.0 + drawn % 97
    reason = "the kernel is singular" if drawn % 8 == 0 else ""
    length = drawn % 101 / 7
    values = {
        "length_distortion": Score(length, 0.1, (length,), "higher"),
        "ntk_condition_number": Score(kappa, 0.0, (kappa,), "lower", reason),
    }
    return {name: values[name] for name in names}


def faked(setattr_: Callable[[object, str, object], None] = setattr) -> None:
    """Put the fakes in place; no report is written, as that is slow and tested elsewhere."""
    setattr_(Growable, "build", lambda _self, depths, width: (depths, width))
    setattr_(Growable, "cost", fake_cost)
    setattr_(scaling.meter, "measure", fake_measure)
    setattr_(runs_scale, "_write_report", lambda _folder: None)


def run(
    folder: Path,
    settings: Mapping[str, Any],
    *,
    stop: Stop | None = None,
    sleep: float = 0.0,
    largest_file: int | None = None,
) -> None:
    """Scale in ``folder``; an interrupt exits with 130, a file that grows too large with 3."""
    faked()

    def measure(*arguments: Any, **named: Any) -> dict[str, Score]:
        time.sleep(sleep)
        return fake_measure(*arguments, **named)

    scaling.meter.measure = measure
    limit_files(largest_file)
    stop_at(_PLACES, stop)
    given = {**SETTINGS, **settings}
    with exit_codes():
        runs_scale.run_scaling(given.pop("architecture", ARCHITECTURE), out=folder, **given)

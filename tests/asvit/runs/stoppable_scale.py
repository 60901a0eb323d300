"""A scaling whose networks are never built, in a process of its own, for tests to stop."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import asvit.runs.crew
import asvit.runs.scaling as runs_scaling
from asvit.runs.growable import Growable
from asvit.runs.measuring import Measured, Order
from asvit.spaces.architectures import find
from proxies import Cost, Score
from tests.traps import Places, Stop, exit_codes, limit_files, stop_at

ARCHITECTURE = "4,8,2|2,4,2|2,2,2|2,1,2|16"
SETTINGS = {
    "budget": "2M,8M", "data": "gaussian", "image_size": 32,
    "images": 2, "repeats": 1, "points": 3,
}  # fmt: skip


def fake_cost(_self: Growable, depths: tuple[int, ...], width: int) -> Cost:
    """Roughly what the network costs."""
    params = 1000 * width + sum(d * 8 * (width * 2**i) ** 2 for i, d in enumerate(depths))
    return Cost(params, 100 * params)


def fake_measure(order: Order) -> dict[str, Score]:
    """Values that follow from the shape; one network in eight has a singular kernel."""
    _, network = find(order.architecture)
    drawn = crc32(repr((tuple(network.depths), network.width)).encode())
    kappa = float("nan") if drawn % 8 == 0 else 1.0 + drawn % 97
    reason = "the kernel is singular" if drawn % 8 == 0 else ""
    length = drawn % 101 / 7
    values = {
        "length_distortion": Score(length, 0.1, (length,), "higher"),
        "ntk_condition_number": Score(kappa, 0.0, (kappa,), "lower", reason),
    }
    return {name: values[name] for name in order.names}


class FakeCrew:
    """Measures nothing; see :func:`fake_measure`."""

    sleep = 0.0

    def __init__(self, *_arguments: object, **_named: object) -> None:
        pass

    def measure(self, orders: Sequence[Order]) -> Iterator[tuple[int, Measured]]:
        for number, order in enumerate(orders):
            yield number, Measured(self.one(order))

    def one(self, order: Order) -> dict[str, Score]:
        time.sleep(self.sleep)
        return fake_measure(order)

    def close(self) -> None:
        pass


_PLACES: Places = {
    "fsync": (os, "fsync"),  # written, but not known to be
    "measure": (FakeCrew, "one"),
    "table": (runs_scaling, "write_text"),  # about to write steps.csv or candidates.csv
    "result": (runs_scaling.ScaleResult, "__init__"),  # all measured, no result yet
}


def faked(setattr_: Callable[[object, str, object], None] = setattr) -> None:
    """Put the fakes in place; no report is written, as that is slow and tested elsewhere."""
    setattr_(Growable, "cost", fake_cost)
    setattr_(asvit.runs.crew, "Crew", FakeCrew)
    setattr_(runs_scaling.ScaleRun, "write_report", lambda *_: None)


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
    FakeCrew.sleep = sleep
    limit_files(largest_file)
    stop_at(_PLACES, stop)
    given = {**SETTINGS, **settings}
    with exit_codes():
        runs_scaling.run_scaling(given.pop("architecture", ARCHITECTURE), out=folder, **given)

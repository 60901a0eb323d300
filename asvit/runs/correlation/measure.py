"""Measures the networks of a reference table, one at a time, each score once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from asvit.data.base import Progress
from asvit.reference.settings import CorrelationSettings
from asvit.reference.table import ReferenceTable
from asvit.runs.correlation.journal import ScoreJournal
from asvit.runs.correlation.plan import Plan
from asvit.runs.evaluator import Bench
from proxies import Score, measure
from proxies.evaluation import resolve_device


@dataclass(frozen=True)
class RowEvent:
    """A row of the table has been measured.

    Attributes:
        row: How many are, this one included.
        rows: How many will be.
        resumed: How many were before this session.
        architecture: Text of this one.
        scores: What was measured of it.
        failures: Rows of this session of which a measure failed.
        seconds: Time since the session's first row began.
    """

    row: int
    rows: int
    resumed: int
    architecture: str
    scores: Mapping[str, Score]
    failures: int
    seconds: float


class TableBench:
    """What the networks of a table are measured on: a device, and images once they are needed.

    Args:
        settings: How to measure.
        progress: Called as images are made or read.

    Attributes:
        device: Where the networks are measured.
        provenance: Image size to where its images came from and what they are.

    Raises:
        ValueError: If the device is not there.
    """

    def __init__(self, settings: CorrelationSettings, *, progress: Progress | None = None) -> None:
        self._settings = settings
        self._progress = progress
        self._benches: dict[int, Bench] = {}
        self.device = str(resolve_device(settings.device))
        self.provenance: dict[int, Mapping[str, str]] = {}

    def side(self, table: ReferenceTable, row: int) -> int:
        """Image size that a row is measured at."""
        return self._settings.image_size or table.image_sizes[row]

    def arguments(self, side: int) -> Mapping[str, Any]:
        """What :func:`proxies.measure` takes beside the network, the measures and the key.

        Raises:
            ValueError: If there are too few images, or one cannot be read.
            OSError: If the images cannot be found.
        """
        if side not in self._benches:
            self._benches[side] = Bench(self._settings, image_size=side, progress=self._progress)
            self.provenance[side] = self._benches[side].provenance
        return self._benches[side].arguments


def measure_rows(
    plan: Plan,
    due: Mapping[int, Sequence[str]],
    bench: TableBench,
    journal: ScoreJournal,
    *,
    progress: Callable[[RowEvent], None] | None = None,
) -> None:
    """Measure what is due, row by row, with one network at a time in memory.

    Args:
        plan: The rows of the whole question.
        due: Row to the measures that are to be taken of it; see :func:`due_rows`.
        bench: What to measure on.
        journal: Keeps each row's scores before the next one is built.
        progress: Called after each row.

    Raises:
        ValueError: If images are not those that the run was started with, or cannot be had.
        OSError: If a score cannot be kept or images cannot be found.
    """
    table, resumed = plan.table, len(plan.rows) - len(due)
    started, failures = time.monotonic(), 0
    for place, (row, names) in enumerate(due.items(), start=1):
        began = time.monotonic()
        text, side = table.architectures[row], bench.side(table, row)
        arguments = bench.arguments(side)
        journal.keep_images(side, bench.provenance[side])
        scores = measure(partial(table.build, row, side), names, key=text, **arguments)
        now = time.monotonic()
        journal.keep(text, scores, now - began)
        failures += not all(score.valid for score in scores.values())
        if progress is not None:
            progress(
                RowEvent(
                    row=resumed + place,
                    rows=len(plan.rows),
                    resumed=resumed,
                    architecture=text,
                    scores=scores,
                    failures=failures,
                    seconds=now - started,
                )
            )


def due_rows(plan: Plan, journal: ScoreJournal, *, retry: bool = False) -> dict[int, list[str]]:
    """Row to those of its measures that the journal does not hold, where there are any.

    Args:
        plan: Rows and measures.
        journal: What has been measured.
        retry: Whether what failed is due again.
    """
    missing = {
        row: journal.missing(plan.table.architectures[row], plan.measures, failed=retry)
        for row in plan.rows
    }
    return {row: names for row, names in missing.items() if names}

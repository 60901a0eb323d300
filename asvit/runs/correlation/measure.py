"""Measures the networks of a reference table, each score once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

from asvit.console import number, short
from asvit.data.base import Progress
from asvit.executors import Workers
from asvit.progress import Progress as Moment
from asvit.reference.settings import CorrelationSettings
from asvit.reference.table import ReferenceTable
from asvit.runs.correlation.journal import ScoreJournal
from asvit.runs.correlation.plan import Plan
from asvit.runs.measurement_pool import EvalContext, MeasurementJob, MeasurementPool, Workload
from proxies import Score
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


def row_progress(event: RowEvent) -> Moment:
    """How far measuring a table is."""
    scores = event.scores
    told = f"{len(scores)} measures"
    if len(scores) <= _MOST_VALUES:
        told = ", ".join(f"{short(name)} {number(score.value)}" for name, score in scores.items())
    failed = f"  failed {event.failures}" if event.failures else ""
    state = f"{event.architecture} ({told}){failed}"
    return Moment("row", event.row, event.rows, event.resumed, event.seconds, state, record=event)


_MOST_VALUES = 3  # measures of an architecture that a line has room for


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
        self._benches: dict[int, EvalContext] = {}
        self.device = str(resolve_device(settings.device))
        self.provenance: dict[int, Mapping[str, str]] = {}

    def side(self, table: ReferenceTable, row: int) -> int:
        """Image size that a row is measured at."""
        return self._settings.image_size or table.image_sizes[row]

    def at(self, side: int) -> EvalContext:
        """What networks of this image size are measured on.

        Raises:
            ValueError: If there are too few images, or one cannot be read.
            OSError: If the images cannot be found.
        """
        if side not in self._benches:
            self._benches[side] = EvalContext(
                self._settings, image_size=side, progress=self._progress
            )
            self.provenance[side] = self._benches[side].provenance
        return self._benches[side]


_GIGABYTES = 4.0  # that measuring one of timm's larger networks may need


def measure_rows(
    plan: Plan,
    due: Mapping[int, Sequence[str]],
    bench: TableBench,
    journal: ScoreJournal,
    *,
    workers: Workers | None = None,
    progress: Callable[[RowEvent], None] | None = None,
) -> None:
    """Measure what is due, with one network at a time in the memory of each worker.

    Args:
        plan: The rows of the whole question.
        due: Row to the measures that are to be taken of it; see :func:`due_rows`.
        bench: What to measure on.
        journal: Keeps each row's scores as soon as they are there.
        workers: Who measures; see :class:`asvit.runs.measurement_pool.MeasurementPool`.
            The scores do not depend on it.
        progress: Called after each row.

    Raises:
        ValueError: If images are not those that the run was started with, or cannot be had.
        OSError: If a score cannot be kept or images cannot be found.
    """
    table, resumed = plan.table, len(plan.rows) - len(due)
    orders = [
        MeasurementJob(
            table.architectures[row],
            tuple(names),
            table.architectures[row],
            bench.side(table, row),
        )
        for row, names in due.items()
    ]
    benches = {order.side: bench.at(order.side) for order in orders}
    for side in benches:
        journal.keep_images(side, bench.provenance[side])
    crew = MeasurementPool(
        benches,
        workers,
        Workload(len(orders), len(orders), _GIGABYTES),
        num_classes=table.num_classes,
    )
    started, failures = time.monotonic(), 0
    with closing(crew):
        began = started
        for place, (number, measured) in enumerate(crew.measure(orders), start=1):
            text, now = orders[number].architecture, time.monotonic()
            journal.keep(text, measured.scores, now - began)
            began = now
            failures += not all(score.valid for score in measured.scores.values())
            if progress is not None:
                progress(
                    RowEvent(
                        row=resumed + place,
                        rows=len(plan.rows),
                        resumed=resumed,
                        architecture=text,
                        scores=measured.scores,
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

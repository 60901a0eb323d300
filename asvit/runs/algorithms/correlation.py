"""The algorithm of correlations."""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self, cast

from asvit.core.console import number, short
from asvit.core.continuing import (
    Images,
    check_same_images,
)
from asvit.core.files import write_text
from asvit.core.progress import Progress, Tell, image_progress
from asvit.core.run_files import CORRELATIONS, RESULT, VALUES
from asvit.core.settings import fields_of, wrong_option
from asvit.executors.placement import device_of, on_cluster
from asvit.predictor.validation import predictor_findings
from asvit.reference import ReferenceTable, load_reference
from asvit.reference.findings import (
    sort_findings,
    to_csv,
)
from asvit.reference.query import (
    Plan,
    correlate_all,
    count_columns,
    gather,
    make_plan,
    resolve,
)
from asvit.reference.result import CorrelationResult, ImagesOfSize, Scored, ScoreJournal, table_id
from asvit.reference.settings import CorrelationQuery, direction
from asvit.reference.table import check_rows
from asvit.runs.algorithms.measuring import are_times, with_timing
from asvit.runs.correlation import CorrelationRun
from asvit.runs.folder import remove_files
from asvit.runs.measurement_pool import (
    EvalContext,
    MeasurementJob,
    MeasurementPool,
    Workload,
)
from asvit.runs.scoring import ScoreRow
from asvit.spaces.architectures import choice_features
from proxies import Score

logger = logging.getLogger(__name__)

_GIGABYTES = 4.0  # that measuring one of timm's larger networks may need
_MOST_VALUES = 3  # measures of an architecture that a line has room for


@dataclass(kw_only=True)
class CorrelationAlgorithm(CorrelationRun):
    """Measures the rows of the table that no score is stored of, and correlates."""

    journal_type = ScoreJournal
    _contexts: dict[int, EvalContext] = dataclasses.field(default_factory=dict, init=False)
    _due: dict[int, list[str]] | None = dataclasses.field(default=None, init=False)

    @classmethod
    def make(cls, preset: str = "default", **values: Any) -> Self:
        """As the base does, with the fields of the query beside those of the settings."""
        own = {name: values.pop(name) for name in fields_of(CorrelationQuery) if name in values}
        with wrong_option():
            query = CorrelationQuery(**{name: own[name] for name in own if own[name] is not None})
        return super().make(preset, query=query, **values)

    @property
    def typed_values(self) -> Mapping[str, object]:
        """The table by its name, or its path."""
        table = self.table
        return {"reference": table.name if table.shipped else table.path}

    @cached_property
    def table(self) -> ReferenceTable:
        """The reference table."""
        return load_reference(self.reference, check=self.query.most_params is not None)

    @cached_property
    def plan(self) -> Plan:
        """Rows, measures and targets."""
        table = self.table  # a wrong file is no wrong option
        with wrong_option():
            return make_plan(table, self.query, seed=self.settings.seed)

    def check(self) -> None:
        """Find what to measure."""
        _ = self.plan

    def default_name(self) -> str:
        """Named after the table, the image sizes and the seed.

        The name of a file of one's own ends in the beginning of its digest: stems are often alike.
        """
        table, size = self.table, self.settings.image_size
        sizes = [size] if size else sorted(set(table.image_sizes))
        side = "-".join(map(str, dict.fromkeys((sizes[0], sizes[-1]))))
        name = table.name if table.shipped else f"{table.name}-{table.digest[:8]}"
        return f"correlate-{name}-{side}px-seed{self.settings.seed}"

    @property
    def title(self) -> str:
        """What is about to be measured, and on what."""
        plan, s = self.plan, self.settings
        what = f"measuring {len(plan.rows)} architectures of {plan.table.name}"
        how = s.in_words(on_cluster(s.device, self.workers))
        return f"{what}: {len(plan.measures)} measures, {how}"

    @cached_property
    def _device(self) -> str:
        """Where networks are measured; of a cluster, which is asked once."""
        return device_of(self.settings.device, self.workers)

    def _side(self, row: int) -> int:
        """Side of the images that a row is measured on, in pixels."""
        return self.settings.image_size or self.table.image_sizes[row]

    def _context(self, side: int) -> EvalContext:
        """Device and images of a size to measure on."""
        if side not in self._contexts:
            self._contexts[side] = EvalContext(
                replace(self.settings, device=self._device),
                image_size=side,
                workers=self.workers,
                progress=image_progress(self.progress),
            )
        return self._contexts[side]

    def load(self) -> Mapping[str, Any] | None:
        """The table and the device; images where nothing is known to be measured yet.

        Builds the networks to be measured; those of a table that was read before have been built.
        """
        if self._due is None:
            self._context(self._side(self.plan.rows[0]))
        elif not self._due:
            return None
        if not isinstance(self.reference, ReferenceTable) and not self.table.shipped:
            check_rows(self.table, self.plan.rows if self._due is None else [*self._due])
        return {"table": table_id(self.table), "device": self._device}

    def versions(self, stored: Mapping[str, str] | None) -> Mapping[str, str]:
        """As the base does, with the processor that times are taken on.

        Raises:
            ValueError: If times that are due are taken on another processor than those before.
        """
        due = {name for names in (self._due or {}).values() for name in names}
        if are_times(due, self.settings.device, self.workers):
            return with_timing(super().versions(stored), self.folder, self.settings.device)
        return super().versions(stored)

    def open(self) -> ScoreJournal:
        """The store of scores, if it is of this table."""
        store: ScoreJournal = super().open()
        store.check_table(self.table)
        self._due = self._missing(store)
        return store

    def settled(self, store: ScoreJournal, result: CorrelationResult) -> bool:
        """Whether ``result`` answers the query by all measures that are registered now."""
        same = (result.settings, result.question) == (self.settings, self.query)
        measures = {row.measure for row in result.correlations if not row.predicted}
        complete = measures == set(self.plan.shown) and (self.folder / CORRELATIONS).exists()
        return same and complete and not self._due

    def execute(self, store: ScoreJournal, tell: Tell) -> CorrelationResult:
        """Measure what is missing, then correlate."""
        if self._due:
            self._take_counts(store, self._due, tell)
        if self._due:
            self._measure(store, self._due, tell)
        plan, table = self.plan, self.table
        values = gather(plan, self.settings, store)
        measured = correlate_all(plan, values, seed=self.settings.seed)
        predicted = predictor_findings(
            plan,
            counts=count_columns(values),
            image_size=self.settings.image_size,
            seed=self.settings.seed,
        )
        images = {str(size): dict(of) for size, of in sorted(store.images_of.items())}
        result: CorrelationResult = self.result(
            store,
            {"images": images, "device": store.device},
            reference=table.name,
            digest=table.digest,
            targets=tuple(table.targets[name] for name in plan.targets),
            rows=len(plan.rows),
            excluded=plan.excluded,
            correlations=sort_findings([*measured, *predicted]),
            values=values,
            wall_seconds=store.measuring,
            question=self.query,
        )
        remove_files(self.folder, [*result.figure_files(self.folder), RESULT])
        write_text(self.folder / VALUES, values.to_csv())
        write_text(self.folder / CORRELATIONS, to_csv(result.correlations))
        return result

    def _take_counts(self, journal: ScoreJournal, due: dict[int, list[str]], tell: Tell) -> None:
        """Take from a table that comes along what it has at the image size asked for."""
        table, total = self.table, len(self.plan.rows)
        for row, names in list(due.items()):
            same_size = self._side(row) == table.image_sizes[row]
            counts = {n: table.counts[n][row] for n in names if same_size and n in table.counts}
            scores = {
                name: Score(value, 0.0, (value,), direction(name))
                for name, value in counts.items()
                if math.isfinite(value)
            }
            if not scores:
                continue
            text = table.architectures[row]
            journal.add_record(Scored(text, 0.0, scores))
            due[row] = [name for name in names if name not in scores]
            if not due[row]:
                del due[row]
                tell(Progress("row", total - len(due), total, state=text))

    def _missing(self, journal: ScoreJournal) -> dict[int, list[str]]:
        """What has to be measured: row to measures."""
        texts = self.table.architectures
        missing = {row: journal.missing(texts[row], self.plan.measures) for row in self.plan.rows}
        return {row: names for row, names in missing.items() if names}

    def _measure(
        self, journal: ScoreJournal, due: Mapping[int, Sequence[str]], tell: Tell
    ) -> None:
        """Measure what is due: row to measures. Every row is stored as soon as it is there."""
        texts = self.table.architectures
        jobs = [
            MeasurementJob(texts[row], tuple(names), texts[row], self._side(row))
            for row, names in due.items()
        ]
        contexts = {job.side: self._context(job.side) for job in jobs}
        for side, context in contexts.items():
            check_same_images(self.folder, journal.images_of.get(side), context.provenance)
            if side not in journal.images_of:
                journal.add_record(ImagesOfSize(side, cast("Images", dict(context.provenance))))
        pool = MeasurementPool(
            contexts, self.workers, _workload(jobs), num_classes=self.table.num_classes
        )
        total, resumed, failures = len(self.plan.rows), len(self.plan.rows) - len(jobs), 0
        start = previous = time.monotonic()
        with closing(pool):
            for done, (place, measured) in enumerate(pool.measure(jobs), start=resumed + 1):
                row = ScoreRow(jobs[place].key, measured.scores)
                now = time.monotonic()
                journal.add_record(Scored(row.architecture, round(now - previous, 3), row.scores))
                previous = now
                failures += not all(score.valid for score in row.scores.values())
                state = _state(row, failures)
                tell(Progress("row", done, total, resumed, now - start, state, record=row))


def _workload(jobs: Sequence[MeasurementJob]) -> Workload:
    """What there is to measure; the guess of its time is for two measures of a network."""
    free = resolve([])  # counts take no time
    measures = sum(name not in free for job in jobs for name in job.names)
    middle = jobs[len(jobs) // 2]
    names = tuple(dict.fromkeys(name for job in jobs for name in job.names))
    of_each_space = {choice_features(job.key)[0]: job for job in jobs}.values()
    known = [replace(job, names=names) for job in of_each_space]
    return Workload(math.ceil(measures / 2), len(jobs), _GIGABYTES, lambda: middle, known=known)


def _state(row: ScoreRow, failures: int) -> str:
    """What was measured last, and how many rows failed, in a few words."""
    measured = f"{len(row.scores)} measures"
    if len(row.scores) <= _MOST_VALUES:
        values = (f"{short(name)} {number(score.value)}" for name, score in row.scores.items())
        measured = ", ".join(values)
    return f"{row.architecture} ({measured}){f'  failed {failures}' if failures else ''}"

"""Correlations: how well measures rank the architectures of a reference table."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from asvit.core.console import clock, number, short
from asvit.core.files import write_text
from asvit.core.progress import Progress, Tell, ignore, images_told
from asvit.core.run_files import CORRELATION_FIGURES, CORRELATIONS, RESULT, SCORES, VALUES
from asvit.core.settings import (
    MeasuringSettings,
    check_same_images,
    fields_of,
    setting,
    warn_of_changes,
    wrong_option,
)
from asvit.core.signatures import CallOptions, with_options
from asvit.core.summary import Cell, SummaryPart, Table
from asvit.reference import REFERENCES
from asvit.reference.findings import (
    Finding,
    RankedMeasure,
    Reliability,
    by_size,
    estimates,
    in_order,
    size_verdict,
    to_csv,
    verdict,
)
from asvit.reference.result import CorrelationResult
from asvit.reference.settings import PLUS, CorrelationQuery, CorrelationSettings
from asvit.runs.folder import RunFiles, plain_name, remove_files
from asvit.runs.lifecycle import check_settings, peeked
from asvit.runs.run import Run, imported
from asvit.runs.scoring import ScoreRow

if TYPE_CHECKING:
    from asvit.executors import Workers
    from asvit.reference import ReferenceTable
    from asvit.reference.query import Plan
    from asvit.reference.scores import ScoreJournal
    from asvit.reference.table import Target
    from asvit.runs.estimate import Remaining
    from asvit.runs.measurement_pool import EvalContext, MeasurementJob, Workload

_GIGABYTES = 4.0  # that measuring one of timm's larger networks may need
_MOST_VALUES = 3  # measures of an architecture that a line has room for


@dataclass(kw_only=True)
class CorrelationRun(Run[CorrelationSettings, CorrelationResult, "ScoreJournal"]):
    """Tell how well measures rank the architectures of a reference table by accuracy.

    Every measure stands beside the counts, such as parameters and multiply-adds, which are always
    taken. Given again, with other measures or targets, too, the command measures only what it
    does not know yet.
    """

    command = "correlate"
    files = RunFiles(
        "correlation", "correlation", SCORES, (VALUES, CORRELATIONS), figures=CORRELATION_FIGURES
    )
    journal_type = imported("asvit.reference.scores:ScoreJournal")
    pictures = imported("asvit.report.correlate:pictures")  # imports matplotlib
    details = imported("asvit.report.correlate:details")
    written = "report.html, values.csv, correlations.csv, result.json, figures"
    no_work = "nothing to measure: every score is known; --fresh starts over"

    query: CorrelationQuery = dataclasses.field(default_factory=CorrelationQuery)
    reference: str | Path | ReferenceTable = setting(
        ...,
        "Name of a reference table (see asvit list references), or the path of a CSV file.",
        metavar="TABLE",
        complete="asvit.reference:REFERENCES",
        listed=False,
    )
    retry: bool = setting(False, "Measure again what failed.", repeats=False)
    workers: Workers | None = None  # the result does not depend on them
    _contexts: dict[int, EvalContext] = dataclasses.field(default_factory=dict, init=False)
    _due: dict[int, list[str]] | None = dataclasses.field(default=None, init=False)

    @classmethod
    def make(cls, preset: str = "default", **given: Any) -> Self:
        """As the base does, with the fields of the query beside those of the settings."""
        own = {name: given.pop(name) for name in fields_of(CorrelationQuery) if name in given}
        with wrong_option():
            query = CorrelationQuery(**{name: own[name] for name in own if own[name] is not None})
        return super().make(preset, query=query, **given)

    def resolved(self) -> Self:
        """An image size that every row of the table has anyway is left to the rows."""
        settings = own_sizes(self.settings, self.table)
        return self if settings == self.settings else replace(self, settings=settings)

    @classmethod
    def option_types(cls) -> Sequence[Any]:
        """As the base has them, after the query."""
        return CorrelationQuery, *super().option_types()

    def option_owners(self) -> Sequence[Any]:
        """As the base has them, after the query."""
        return self.query, *super().option_owners()

    @property
    def typed_values(self) -> Mapping[str, object]:
        """The table by its name, or its path."""
        found = self.table
        return {"reference": str(found.name if found.name in REFERENCES else found.path)}

    @cached_property
    def table(self) -> ReferenceTable:
        """The reference table."""
        from asvit.reference import load_reference

        use = None if self.query.rows is None else self._rows_used
        return load_reference(self.reference, use=use)

    def _rows_used(self, table: ReferenceTable) -> Sequence[int]:
        """The rows of ``table`` that the query takes; all where these have to be counted first."""
        if self.query.most_params is not None and table.params is None:
            return range(len(table))
        return self._plan_of(table).rows

    @cached_property
    def plan(self) -> Plan:
        """Rows, measures and targets."""
        return self._plan_of(self.table)

    def _plan_of(self, table: ReferenceTable) -> Plan:
        from asvit.reference.query import make_plan

        with wrong_option():
            return make_plan(table, self.query, seed=self.settings.seed)

    def check(self) -> None:
        """Find what to measure."""
        _ = self.plan

    def default_name(self) -> str:
        """Named after the table, the image sizes and the seed.

        The name of a file of one's own ends in the beginning of its digest: stems are often alike.
        """
        found, size = self.table, self.settings.image_size
        sizes = [size] if size else sorted(set(found.image_sizes))
        side = "-".join(map(str, dict.fromkeys((sizes[0], sizes[-1]))))
        name = found.name if found.name in REFERENCES else f"{found.name}-{found.digest[:8]}"
        return f"correlate-{name}-{side}px-seed{self.settings.seed}"

    @property
    def title(self) -> str:
        """What is about to be measured, and on what."""
        plan = self.plan
        what = f"measuring {len(plan.rows)} architectures of {plan.table.name}"
        return f"{what}: {len(plan.measures)} measures, {self.settings.in_words()}"

    def _side(self, row: int) -> int:
        """Side of the images that a row is measured on, in pixels."""
        return self.settings.image_size or self.table.image_sizes[row]

    def _context(self, side: int) -> EvalContext:
        """Device and images of a size to measure on."""
        from asvit.runs.measurement_pool import EvalContext

        if side not in self._contexts:
            self._contexts[side] = EvalContext(
                self.settings, image_size=side, progress=images_told(self.progress)
            )
        return self._contexts[side]

    def load(self) -> Mapping[str, Any] | None:
        """The table and the device, with images where nothing is known to be measured yet."""
        from asvit.reference.scores import table_id
        from proxies.evaluation import resolve_device

        if self._due is None:
            self._context(self._side(self.plan.rows[0]))
        elif not self._due:
            return None
        device = str(resolve_device(self.settings.device))
        return {"table": table_id(self.table), "device": device}

    def versions(self, stored: Mapping[str, str] | None) -> Mapping[str, str]:
        """As the base does, with the attention kernel that all sessions measure with."""
        from asvit.runs.measurement_pool import with_kernel

        return with_kernel(stored)

    def open(self) -> ScoreJournal:
        """The store of scores, if it is of this table."""
        store = super().open()
        store.check_table(self.table)
        self._due = self._missing(store)
        return store

    def settled(self, store: ScoreJournal, result: CorrelationResult) -> bool:
        """Whether ``result`` answers the query by all measures that are registered now."""
        same = (result.settings, result.question) == (self.settings, self.query)
        shown = {one.measure for one in result.correlations if not one.predicted}
        complete = shown == set(self.plan.shown) and (self.folder / CORRELATIONS).exists()
        return same and complete and not self._due

    def check_store(self, store: ScoreJournal) -> None:
        """What was made of scores that are measured again is stale, wherever this stops."""
        stale, texts = store.changed, self.table.architectures
        due = self._due or {}
        again = [stale.get(texts[row], set()) & {*names} for row, names in due.items()]
        changed = {f"measure {name}" for names in again for name in names}
        warn_of_changes(changed, f"{sum(map(bool, again))} architectures")
        if self.retry or any(again):
            remove_files(self.folder, [RESULT])

    def execute(self, store: ScoreJournal, tell: Tell) -> CorrelationResult:
        """Measure what is missing, then correlate."""
        from asvit.predictor.correlation import predictor_findings
        from asvit.reference.query import correlate_all, count_columns, gather

        if self._due:
            self._take_counts(store, self._due, tell)
        if self._due:
            self._measure(store, self._due, tell)
        plan, found = self.plan, self.table
        values = gather(plan, self.settings, store)
        measured = correlate_all(plan, values, seed=self.settings.seed)
        predicted = predictor_findings(
            plan,
            values,
            counts=count_columns(values),
            image_size=self.settings.image_size,
            seed=self.settings.seed,
        )
        images = {str(size): dict(of) for size, of in sorted(store.images_of.items())}
        result: CorrelationResult = self.result(
            store,
            {"images": images, "device": store.device},
            reference=found.name,
            digest=found.digest,
            targets=tuple(found.targets[name] for name in plan.targets),
            rows=len(plan.rows),
            excluded=plan.excluded,
            correlations=in_order([*measured, *predicted]),
            values=values,
            wall_seconds=store.seconds,
            question=self.query,
        )
        remove_files(self.folder, [*result.figure_files(self.folder), RESULT])
        write_text(self.folder / VALUES, values.to_csv())
        write_text(self.folder / CORRELATIONS, to_csv(result.correlations))
        return result

    def _counted(self, row: int, name: str) -> float:
        """What a table that comes along has at the image size asked for; NaN if it has not."""
        if self._side(row) != self.table.image_sizes[row] or name not in self.table.counts:
            return math.nan
        return self.table.counts[name][row]

    def _take_counts(self, journal: ScoreJournal, due: dict[int, list[str]], tell: Tell) -> None:
        """Take from the table what need not be counted again."""
        from asvit.reference.query import direction
        from proxies import Score

        texts, total = self.table.architectures, len(self.plan.rows)
        for row, names in list(due.items()):
            known = {name: self._counted(row, name) for name in names}
            found = {
                name: Score(value, 0.0, (value,), direction(name))
                for name, value in known.items()
                if math.isfinite(value)
            }
            if not found:
                continue
            journal.add(texts[row], found, 0.0)
            due[row] = [name for name in names if name not in found]
            if not due[row]:
                del due[row]
                tell(Progress("row", total - len(due), total, state=texts[row]))

    def remaining(self) -> Remaining:
        """What is left to do; of the networks the one in the middle of the table is timed."""
        from asvit.runs.estimate import Remaining, with_example

        store = peeked(self)
        check_settings(self, store)
        jobs = self._jobs(self._missing(store))
        found = Remaining(len(self.plan.rows) - len(jobs), len(jobs))
        job = jobs[len(jobs) // 2] if jobs else None
        return with_example(found, job, self.settings, num_classes=self.table.num_classes)

    def _missing(self, journal: ScoreJournal) -> dict[int, list[str]]:
        """What has to be measured: row to measures."""
        texts = self.table.architectures
        missing = {
            row: journal.missing(texts[row], self.plan.measures, failed=self.retry)
            for row in self.plan.rows
        }
        return {row: names for row, names in missing.items() if names}

    def _jobs(self, due: Mapping[int, Sequence[str]]) -> list[MeasurementJob]:
        from asvit.runs.measurement_pool import MeasurementJob

        texts = self.table.architectures
        return [
            MeasurementJob(texts[row], tuple(names), texts[row], self._side(row))
            for row, names in due.items()
        ]

    def _measure(
        self, journal: ScoreJournal, due: Mapping[int, Sequence[str]], tell: Tell
    ) -> None:
        """Measure what is due: row to measures. Every row is kept as soon as it is there."""
        from asvit.runs.measurement_pool import MeasurementPool

        jobs = self._jobs(due)
        contexts = {job.side: self._context(job.side) for job in jobs}
        for side, context in contexts.items():
            check_same_images(self.folder, journal.images_of.get(side), context.provenance)
            journal.add_images(side, context.provenance)
        pool = MeasurementPool(
            contexts, self.workers, _workload(jobs), num_classes=self.table.num_classes
        )
        total, resumed, failures = len(self.plan.rows), len(self.plan.rows) - len(jobs), 0
        started = began = time.monotonic()
        with closing(pool):
            for done, (place, measured) in enumerate(pool.measure(jobs), start=resumed + 1):
                row = ScoreRow(jobs[place].key, measured.scores)
                now = time.monotonic()
                journal.add(row.architecture, row.scores, now - began)
                began = now
                failures += not all(score.valid for score in row.scores.values())
                state = _state(row, failures)
                tell(Progress("row", done, total, resumed, now - started, state, record=row))

    @classmethod
    def summary(cls, result: CorrelationResult) -> Iterator[SummaryPart]:
        """A table and a conclusion for each target."""
        for target in result.targets:
            findings = [row for row in result.correlations if row.target == target.name]
            heading = f"{result.reference}, {target.name}: {_described(target)}"
            if target.noise_ceiling is not None:
                heading += f"; noise ceiling {target.noise_ceiling:.3f}"
            if any(row.correlation.within for row in findings):
                yield _table(by_size(findings), f"{heading}; at the same size", _size_cells)
                yield size_verdict(findings)
            yield _table(findings, heading, _cells)
            for row in findings:
                if row.correlation.reason:
                    yield f"{row.measure}: {row.correlation.reason}"
            yield verdict(findings)
        left_out = "".join(f"; {count} {why}" for why, count in result.excluded.items())
        failed = sum(1 for reason in result.values.reasons if reason)
        reasons = f"; {failed} with a failed measure (reasons in values.csv)" if failed else ""
        yield (
            f"{result.rows} architectures of {result.reference}{left_out}{reasons}; in "
            f"{clock(result.wall_seconds)}"
        )
        learned = any(one.predicted for one in result.correlations)
        yield _LEGEND.format(_OF_PREDICTOR if learned else "")


def own_sizes(settings: CorrelationSettings, table: ReferenceTable) -> CorrelationSettings:
    """``settings`` without an image size that every row has anyway."""
    own = set(table.image_sizes) == {settings.image_size}
    return replace(settings, image_size=None) if own else settings


def _workload(jobs: Sequence[MeasurementJob]) -> Workload:
    """What there is to measure; the guess of its time is for two measures of a network."""
    from asvit.reference.query import resolve
    from asvit.runs.measurement_pool import Workload

    free = resolve([])  # counts take no time
    measures = sum(name not in free for job in jobs for name in job.names)
    return Workload(math.ceil(measures / 2), len(jobs), _GIGABYTES)


def _state(row: ScoreRow, failures: int) -> str:
    """What was measured last, and how many rows failed, in a few words."""
    measured = f"{len(row.scores)} measures"
    if len(row.scores) <= _MOST_VALUES:
        values = (f"{short(name)} {number(score.value)}" for name, score in row.scores.items())
        measured = ", ".join(values)
    return f"{row.architecture} ({measured}){f'  failed {failures}' if failures else ''}"


_LEGEND = (
    "thirds: τ over the pairs of rows in the same third by size; {}[95 %]: bootstrap intervals; "
    "τ − count's: to the best count's on the same rows"
)
_OF_PREDICTOR = "predictor@12: fitted to 12 rows, judged on the others, mean over splits; "


_TRAINED = {
    "scratch": "trained from scratch",
    "distilled": "distilled from a teacher",
    "inherited": "weights inherited from a supernet",
    "unknown": "how the networks were trained is not known",
}


def _described(target: Target) -> str:
    """The description of a target, with how its networks were trained unless it says so."""
    trained = _TRAINED[target.training]
    stated = trained in target.description or target.training in target.description
    return target.description if stated else f"{target.description}; {trained}"


def _table(
    findings: Sequence[Finding], title: str, cells_of: Callable[[Finding], dict[str, Cell]]
) -> Table:
    """The findings of a target, the counts above the line."""
    cells = [cells_of(row) for row in findings]
    columns = list(dict.fromkeys(name for row in cells for name in row))
    rows = [
        [finding.measure, *map(row.get, columns)]
        for finding, row in zip(findings, cells, strict=True)
    ]
    counts = sum(row.trivial for row in findings)
    return Table(["measure", *columns], rows, title, rule=counts if counts < len(rows) else 0)


_SIZES = {"params": "params", "macs": "MACs"}


def _size_cells(finding: Finding) -> dict[str, Cell]:
    """Tau of a finding among rows of about the same size, and beside the best count's there."""
    cells: dict[str, Cell] = {}
    for part in finding.correlation.within:
        tau, difference, size = *estimates(part), _SIZES.get(part.count, part.count)
        cells |= {f"τ in {size} thirds [95 %]": tau, f"− count's in {size} thirds": difference}
    return cells


def _cells(finding: Finding) -> dict[str, Cell]:
    """The columns of a finding."""
    found = finding.correlation
    tau, difference = estimates(found)
    return {"n": found.n, "dropped": found.dropped, "τ [95 %]": tau, "τ − count's": difference}


@with_options(
    *(CorrelationQuery, CorrelationSettings, CorrelationRun, CallOptions),
    names={"targets": "target"},
)
def run_correlation(
    reference: str | Path | ReferenceTable,
    *,
    target: str | Sequence[str] | None = None,
    workers: Workers | None = None,
    **given: Any,
) -> CorrelationResult:
    """Tell how well measures rank the architectures of a reference table by accuracy.

    Every row is built and measured as the settings say; the counts, such as parameters and
    multiply-adds, always are. The run folder holds ``scores.jsonl`` (every score),
    ``values.csv``, ``correlations.csv``, ``result.json`` and the report. Another query about the
    same table measures only what is missing.

    Args:
        reference: Name of a table, path of a CSV file, or the table itself.
        target: Accuracies to correlate with, or several; ``"all"`` for all of the table; its
            default one where none is named.
        workers: Processes that measure; the result does not depend on them.

    Raises:
        ValueError: If the table is none, a name in it is unknown, or too few rows are left, too.

    Example:
        >>> result = asvit.run_correlation(
        ...     "vitbench101-pit", proxies="naswot", rows=5, image_size=32, repeats=1,
        ...     out="correlation",
        ... )
        >>> result.rows
        5
    """
    made = CorrelationRun.make(reference=reference, targets=target, workers=workers, **given)
    return made.run()


def reliability(
    folder: Path,
    table: ReferenceTable,
    settings: MeasuringSettings,
    *,
    workers: Workers | None = None,
    tell: Tell = ignore,
) -> Reliability:
    """Correlate the measures of a run with a table's default target, measured as the run measured.

    The scores are kept in a folder inside the run's, named after the table and its digest. If the
    run was started over with other settings, so is the correlation. The result has the measures,
    the sum of their ranks, and the best count.
    """
    from asvit.reference.query import direction

    names = fields_of(CorrelationSettings)
    wanted = CorrelationSettings(**{name: getattr(settings, name) for name in names})
    inside = folder / plain_name(f"correlate-{table.name}-{table.digest[:8]}")
    proxies: Sequence[str] = settings.proxies  # type: ignore[attr-defined]
    ranked = [name for name in proxies if direction(name) != "reported"]
    asked = [*proxies, *([PLUS.join(ranked)] if len(ranked) > 1 else [])]
    result = run_correlation(
        table,
        proxies=asked,
        out=inside,
        workers=workers,
        progress=tell,
        fresh=_is_of_another_run(inside, own_sizes(wanted, table)),
        **{name: getattr(wanted, name) for name in names},
    )
    (target,) = result.targets
    rival = next((f.correlation.rival for f in result.correlations if f.correlation.rival), "")
    return Reliability(
        reference=table.name,
        digest=table.digest,
        target=target.name,
        description=target.description,
        noise_ceiling=target.noise_ceiling,
        rows=result.rows,
        folder=inside.name,
        measures=[_ranked(result.finding(name)) for name in asked],
        best_count=_ranked(result.finding(rival)) if rival else None,
    )


def _is_of_another_run(folder: Path, wanted: CorrelationSettings) -> bool:
    """Whether the scores in ``folder`` are of a run that was since started over otherwise."""
    from asvit.reference.scores import ScoreJournal
    from proxies.evaluation import resolve_device

    journal = ScoreJournal(folder / SCORES)
    here = str(resolve_device(wanted.device))
    return journal.settings is not None and (journal.settings, journal.device) != (wanted, here)


def _ranked(finding: Finding) -> RankedMeasure:
    known = {**vars(finding), **vars(finding.correlation)}
    return RankedMeasure(**{name: known[name] for name in fields_of(RankedMeasure)})

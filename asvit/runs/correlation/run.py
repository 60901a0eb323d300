"""A correlation from its settings to a run folder: started, continued, asked again, finished."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from asvit._files import write_text
from asvit._run_files import CORRELATIONS, REPORT, RESULT, SCORES, VALUES, figure_files
from asvit.data.base import Progress
from asvit.executors import Workers
from asvit.reference.findings import to_csv
from asvit.reference.settings import (
    ALL,
    CorrelationSettings,
    Question,
    make_question,
    make_settings,
)
from asvit.reference.table import ReferenceTable
from asvit.reference.tables import REFERENCES
from asvit.runs.checks import find_table
from asvit.runs.correlation.journal import ScoreJournal
from asvit.runs.correlation.measure import RowEvent, TableBench, due_rows, measure_rows
from asvit.runs.correlation.plan import Plan, make_plan
from asvit.runs.correlation.result import CorrelationResult
from asvit.runs.correlation.values import correlate_all, gather
from asvit.runs.folder import CORRELATION, check_folder, claimed, named_folder, remove_files
from asvit.runs.provenance import changed_options, versions


def run_correlation(
    reference: str | Path | ReferenceTable,
    *,
    target: str | Sequence[str] | None = None,
    proxies: str | Sequence[str] = ALL,
    out: Path | str | None = None,
    progress: Callable[[RowEvent], None] | None = None,
    image_progress: Progress | None = None,
    fresh: bool = False,
    retry: bool = False,
    preset: str = "default",
    rows: int | None = None,
    max_params: str | None = None,
    workers: Workers | None = None,
    **settings: Any,
) -> CorrelationResult:
    """Tell how well measures rank the architectures of a reference table by accuracy.

    Every row is built and measured as ``settings`` say; the counts, such as parameters and
    multiply-adds, always are. The run folder holds ``scores.jsonl`` (every score),
    ``values.csv``, ``correlations.csv``, ``result.json`` and the report. Stopped at any point,
    even by ``kill -9``, the same call continues to the identical result, and another question
    about the same table measures only what it needs beside what is known.

    Args:
        reference: Name of a table, path of a CSV file, or the table itself.
        target: Accuracies to correlate with, or several; ``"all"`` for all of the table; its
            default one where none is named.
        proxies: Measures; ``"all"`` for every registered one, ``"a+b"`` for the sum of the ranks
            by a and by b.
        out: Run folder; by default in ``runs``, named after the table, the image size and the
            seed.
        progress: Called after each measured row.
        image_progress: Called as images are made or read, with how many are ready, and how many
            there will be.
        fresh: Start over: the folder's earlier run is removed, other files in it are not.
        retry: Measure again what failed.
        preset: Name of a set of settings; see :data:`asvit.reference.settings.PRESETS`.
        rows: Only so many rows, drawn by the seed.
        max_params: Only rows of at most so many parameters, such as ``"100M"``.
        workers: Who measures: unless given, one process for each core where the run is long, else
            this one. The result does not depend on it.
        **settings: Fields of :class:`asvit.reference.settings.CorrelationSettings`, on top of the
            preset's.

    Returns:
        The result, as in result.json.

    Raises:
        ValueError: If a setting is not allowed, the table is none, a name is unknown, too few
            rows are left, or the folder's run is of another table, other settings or another
            device, or in use.
        OSError: If there is no such table, the folder cannot be written or images cannot be
            found.
        TypeError: If there is no such setting.
    """
    table = find_table(reference)
    wanted = own_sizes(make_settings(preset, **settings), table)
    question = make_question(proxies=proxies, targets=target, rows=rows, max_params=max_params)
    plan = make_plan(table, question, seed=wanted.seed)
    folder = default_folder(table, wanted) if out is None else Path(out)
    check_folder(folder, CORRELATION, fresh=fresh)
    bench = None
    if fresh or not (folder / SCORES).exists():
        # May fail, so before anything is made or removed.
        bench = TableBench(wanted, progress=image_progress)
        bench.at(bench.side(table, plan.rows[0]))
    with claimed(folder, CORRELATION, fresh=fresh, more=_scatter_files):
        journal = _open(folder, wanted, table)
        due = due_rows(plan, journal, retry=retry)
        result = None if due else _finished(folder, plan, wanted, question)
        if result is None:
            if due:
                bench = bench or TableBench(wanted, progress=image_progress)
                journal.start(wanted, table, bench.device)
                if retry:  # what was made of failures holds no longer, wherever this stops
                    remove_files(folder, [RESULT])
                measure_rows(plan, due, bench, journal, workers=workers, progress=progress)
            result = _result(folder, plan, wanted, question, journal, out)
            _write(result, folder)
        if not (folder / REPORT).exists():
            _write_report(folder)
    return result


def own_sizes(settings: CorrelationSettings, table: ReferenceTable) -> CorrelationSettings:
    """``settings`` without an image size that is the table's own anyway."""
    own = set(table.image_sizes) == {settings.image_size}
    return replace(settings, image_size=None) if own else settings


def default_folder(table: ReferenceTable, settings: CorrelationSettings) -> Path:
    """Where a correlation with these settings runs unless another folder is named.

    Files of one's own are told apart by the beginning of their digest, as stems are often alike.
    """
    sizes = [settings.image_size] if settings.image_size else sorted(set(table.image_sizes))
    side = "-".join(map(str, dict.fromkeys((sizes[0], sizes[-1]))))
    name = table.name if table.name in REFERENCES else f"{table.name}-{table.digest[:8]}"
    return named_folder(f"correlate-{name}-{side}px-seed{settings.seed}")


def _open(folder: Path, wanted: CorrelationSettings, table: ReferenceTable) -> ScoreJournal:
    """The journal of the run in ``folder``, if that is this run or none.

    Raises:
        ValueError: If the folder holds another kind of run, or this one with other settings.
    """
    journal = ScoreJournal(folder)
    journal.check(wanted, table)
    return journal


def _finished(
    folder: Path, plan: Plan, settings: CorrelationSettings, question: Question
) -> CorrelationResult | None:
    """The result in ``folder`` if it answers ``question`` by all that is registered now."""
    try:
        result = CorrelationResult.read(folder / RESULT)
    except (FileNotFoundError, ValueError):
        return None  # it follows from the scores and is written again
    same = (result.settings, result.question) == (settings, question)
    shown = {one.measure for one in result.correlations}
    tables = all((folder / name).exists() for name in (VALUES, CORRELATIONS))
    return result if same and tables and shown == set(plan.shown) else None


def _result(
    folder: Path,
    plan: Plan,
    settings: CorrelationSettings,
    question: Question,
    journal: ScoreJournal,
    out: Path | str | None,
) -> CorrelationResult:
    values = gather(plan, settings, journal)
    table = plan.table
    return CorrelationResult(
        folder=folder,
        reference=table.name,
        digest=table.digest,
        targets=tuple(table.targets[name] for name in plan.targets),
        rows=len(plan.rows),
        excluded=plan.excluded,
        correlations=correlate_all(plan, values, seed=settings.seed),
        values=values,
        wall_seconds=journal.seconds,
        settings=settings,
        question=question,
        provenance={
            "images": {str(size): dict(of) for size, of in sorted(journal.images.items())},
            "device": journal.device,
            "versions": versions(),
            "command": command_of(table, settings, question, out),
        },
    )


def _write(result: CorrelationResult, folder: Path) -> None:
    """Write what follows from the scores; the result last, so that with it everything is there."""
    remove_files(folder, [*_scatter_files(folder), RESULT, REPORT])
    write_text(folder / VALUES, result.values.to_csv())
    write_text(folder / CORRELATIONS, to_csv(result.correlations))
    result.write(folder / RESULT)


def _write_report(folder: Path) -> None:
    from asvit.report import write_correlation_report  # matplotlib, which measuring does not need

    write_correlation_report(folder)


def _scatter_files(folder: Path) -> Sequence[str]:
    """The figures of the measures that the result in ``folder`` is about; none without one."""
    from asvit.report.correlate_run import scatter_name

    try:
        result = CorrelationResult.read(folder / RESULT)
    except (FileNotFoundError, ValueError):
        return ()
    return figure_files(scatter_name(one.measure) for one in result.correlations)


def command_of(
    table: ReferenceTable,
    settings: CorrelationSettings,
    question: Question,
    out: Path | str | None,
) -> str:
    """The command line that gives this run."""
    named = table.name if table.name in REFERENCES else str(table.path)
    words = changed_options(
        question, Question(), spelled={"proxies": "proxy", "targets": "target"}
    )
    words += changed_options(settings, CorrelationSettings())
    if out is not None:
        words += ["--out", str(out)]
    return shlex.join(["asvit", "correlate", "--reference", named, *words])

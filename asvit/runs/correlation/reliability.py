"""How far the measures of a search or a scaling can be trusted: how they rank a table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from asvit.data.base import Progress
from asvit.executors import Workers
from asvit.growth import ScaleSettings
from asvit.reference.findings import Finding
from asvit.reference.names import PLUS, direction
from asvit.reference.reliability import RankedMeasure, Reliability
from asvit.reference.settings import CorrelationSettings
from asvit.reference.table import ReferenceTable
from asvit.runs.correlation.journal import ScoreJournal
from asvit.runs.correlation.measure import RowEvent
from asvit.runs.correlation.run import own_sizes, run_correlation
from asvit.runs.folder import plain_name
from asvit.search import SearchSettings
from asvit.settings import field_names
from proxies.evaluation import resolve_device


def reliability(
    folder: Path,
    table: ReferenceTable,
    settings: SearchSettings | ScaleSettings,
    *,
    workers: Workers | None = None,
    progress: Callable[[RowEvent], None] | None = None,
    image_progress: Progress | None = None,
) -> Reliability:
    """Correlate the measures of a run with a table, measured as the run measured.

    The scores are kept in a folder inside the run's, named after the table and its digest. A run
    that was started over with other settings starts that one over, too.

    Args:
        folder: Run folder of the search or scaling.
        table: The reference table; its default target is taken.
        settings: What the run measured, and how.
        workers: Who measures.
        progress: Called after each measured row.
        image_progress: Called as images are made or read.

    Returns:
        Table and target, the measures, the sum of their ranks, and the best count.

    Raises:
        ValueError: If the table has too few rows, or images cannot be had.
        OSError: If a score cannot be kept or images cannot be found.
    """
    names = field_names(CorrelationSettings)
    wanted = CorrelationSettings(**{name: getattr(settings, name) for name in names})
    inside = folder / plain_name(f"correlate-{table.name}-{table.digest[:8]}")
    ranked = [name for name in settings.proxies if direction(name) != "reported"]
    asked = [*settings.proxies, *([PLUS.join(ranked)] if len(ranked) > 1 else [])]
    result = run_correlation(
        table,
        proxies=asked,
        out=inside,
        workers=workers,
        progress=progress,
        image_progress=image_progress,
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
    journal = ScoreJournal(folder)
    here = str(resolve_device(wanted.device))
    return journal.settings is not None and (journal.settings, journal.device) != (wanted, here)


def _ranked(finding: Finding) -> RankedMeasure:
    found = finding.correlation
    return RankedMeasure(
        measure=finding.measure,
        better=finding.better,
        n=found.n,
        dropped=found.dropped,
        tau=found.tau,
        tau_interval=(found.tau_interval.low, found.tau_interval.high),
        difference=found.difference,
        difference_interval=(found.difference_interval.low, found.difference_interval.high),
        reason=found.reason,
    )

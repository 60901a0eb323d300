"""Reports of runs: rows first, then figures of the rows, then one page with everything."""

from pathlib import Path

from asvit.core.run_files import (
    ACCURACIES,
    LOSSES,
    MEASURED,
    METRICS_JSONL,
    SCORES,
    SERIES,
    TRAININGS,
)
from asvit.report.correlate import write_correlation_report
from asvit.report.evolution import write_evolution_report
from asvit.report.reference import write_reference_report
from asvit.report.scale import write_scale_report
from asvit.report.search import write_search_report
from asvit.report.supernet import write_supernet_report
from asvit.report.training import write_training_report

__all__ = [
    "write_correlation_report",
    "write_evolution_report",
    "write_reference_report",
    "write_report",
    "write_scale_report",
    "write_search_report",
    "write_supernet_report",
    "write_training_report",
]

#: File -> what writes the report of a folder that has it; the others are taken for searches.
_WRITERS = {
    SCORES: write_correlation_report,
    ACCURACIES: write_evolution_report,
    MEASURED: write_scale_report,
    SERIES: write_scale_report,
    TRAININGS: write_reference_report,
    LOSSES: write_supernet_report,
    METRICS_JSONL: write_training_report,
}


def write_report(folder: Path | str) -> list[Path]:
    """Write the figures of a run of any kind, their rows and ``report.html`` into its run folder.

    Returns:
        The files written, the page last.

    Raises:
        FileNotFoundError: If it is no run folder, or nothing is finished in it yet.
        ValueError: If a file in it is not what it should be.
        OSError: If it cannot be written to; each file is there as a whole or not at all.
    """
    writers = (write for name, write in _WRITERS.items() if (Path(folder) / name).is_file())
    return next(writers, write_search_report)(folder)

"""Reports of runs: rows first, then figures of the rows, then one page with everything."""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asvit.report.correlate import write_correlation_report
    from asvit.report.evolution import write_evolution_report
    from asvit.report.scale import write_scale_report
    from asvit.report.search import write_search_report

__all__ = [
    "write_correlation_report",
    "write_evolution_report",
    "write_report",
    "write_scale_report",
    "write_search_report",
]

_LAZY = {
    "write_correlation_report": "asvit.report.correlate",
    "write_evolution_report": "asvit.report.evolution",
    "write_scale_report": "asvit.report.scale",
    "write_search_report": "asvit.report.search",
}


def write_report(folder: Path | str) -> list[Path]:
    """Write the report of a run folder of any kind; returns the files written, the page last.

    Raises:
        FileNotFoundError: If it is no run folder, or nothing is finished in it yet.
        ValueError: If a file in it is not what it should be.
        OSError: If it cannot be written to; each file is there as a whole or not at all.
    """
    from asvit.core.run_files import MEASURED, SERIES
    from asvit.report.correlate import is_correlation_run, write_correlation_report
    from asvit.report.evolution import is_evolution_run, write_evolution_report
    from asvit.report.scale import write_scale_report
    from asvit.report.search import write_search_report

    folder = Path(folder)
    if is_correlation_run(folder):
        return write_correlation_report(folder)
    if is_evolution_run(folder):
        return write_evolution_report(folder)
    if any((folder / name).is_file() for name in (MEASURED, SERIES)):
        return write_scale_report(folder)
    return write_search_report(folder)


def __getattr__(name: str) -> object:
    # Rows and pages can be had without the search behind a report, which imports torch.
    if name not in _LAZY:
        raise AttributeError(f"module 'asvit.report' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)

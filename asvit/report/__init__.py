"""Reports of runs: rows first, then figures of the rows, then one page with everything."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asvit.report.search import write_search_report

__all__ = ["write_search_report"]


def __getattr__(name: str) -> object:
    # Rows and pages can be had without the search behind a report, which imports torch.
    if name != "write_search_report":
        raise AttributeError(f"module 'asvit.report' has no attribute {name!r}")
    return import_module("asvit.report.search").write_search_report

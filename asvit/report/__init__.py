"""Reports of runs: rows first, then figures of the rows, then one page with everything."""

from asvit.report.search import write_search_report

__all__ = ["write_search_report"]

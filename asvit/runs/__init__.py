"""Whole runs: what a command does from its settings to a folder with results and a report."""

from importlib import import_module
from typing import TYPE_CHECKING

from asvit.runs.folder import newest_run
from asvit.runs.result import SearchResult

if TYPE_CHECKING:
    from asvit.runs.search import run_search

__all__ = ["SearchResult", "newest_run", "run_search"]


def __getattr__(name: str) -> object:
    # The search imports torch and Optuna, which finding or reading a run does not need.
    if name != "run_search":
        raise AttributeError(f"module 'asvit.runs' has no attribute {name!r}")
    return import_module("asvit.runs.search").run_search

"""Whole runs: what a command does from its settings to a folder with results and a report."""

from importlib import import_module
from typing import TYPE_CHECKING

from asvit.runs.folder import newest_run
from asvit.runs.result import SearchResult
from asvit.runs.scale_result import ScaleResult

if TYPE_CHECKING:
    from asvit.runs.correlate import run_correlation
    from asvit.runs.correlate_result import CorrelationResult
    from asvit.runs.evolution import evolve_supernet
    from asvit.runs.evolution_result import EvolutionResult
    from asvit.runs.export import export_network
    from asvit.runs.reference import build_reference
    from asvit.runs.scale import run_scaling
    from asvit.runs.search import run_search
    from asvit.runs.supernet import train_supernet
    from asvit.runs.supernet_result import SupernetResult
    from asvit.runs.train import run_training

__all__ = [
    "CorrelationResult",
    "EvolutionResult",
    "ScaleResult",
    "SearchResult",
    "SupernetResult",
    "build_reference",
    "evolve_supernet",
    "export_network",
    "newest_run",
    "run_correlation",
    "run_scaling",
    "run_search",
    "run_training",
    "train_supernet",
]

_LAZY = {
    "CorrelationResult": "asvit.runs.correlate_result",
    "EvolutionResult": "asvit.runs.evolution_result",
    "SupernetResult": "asvit.runs.supernet_result",
    "build_reference": "asvit.runs.reference",
    "evolve_supernet": "asvit.runs.evolution",
    "export_network": "asvit.runs.export",
    "run_correlation": "asvit.runs.correlate",
    "run_scaling": "asvit.runs.scale",
    "run_search": "asvit.runs.search",
    "run_training": "asvit.runs.train",
    "train_supernet": "asvit.runs.supernet",
}


def __getattr__(name: str) -> object:
    # Running imports torch and Optuna, which finding or reading a run does not need.
    if name not in _LAZY:
        raise AttributeError(f"module 'asvit.runs' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)

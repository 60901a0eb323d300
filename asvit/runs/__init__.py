"""Whole runs: what a command does from its settings to a folder with results and a report.

Each function but ``export_network`` and ``score`` takes, beside what it documents, ``out`` (the
run folder; by default one in ``runs`` named after the settings), ``fresh`` (start over),
``preset`` (settings to start from) and ``progress`` (called with a
:class:`asvit.core.progress.Progress` as the run goes on; unless it is given, a notebook shows a
bar). ``workers`` is an :class:`asvit.executors.Workers`, the processes that measure; ``reference``
the name or path of a table, with whose accuracies the measures are correlated in the end. All
return what result.json holds. They raise ``ValueError`` if a setting is not allowed, images do not
suit, or the folder's run has other settings, images or device or is in use; ``OSError`` if the
folder cannot be written to or something cannot be found; and ``TypeError`` if there is no such
setting.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from asvit.growth.result import ScaleResult
from asvit.runs.folder import newest_run
from asvit.search.result import SearchResult

if TYPE_CHECKING:
    from asvit.reference.result import CorrelationResult
    from asvit.runs.correlation import run_correlation
    from asvit.runs.evolution import evolve_supernet
    from asvit.runs.exporting import export_network
    from asvit.runs.reference import build_reference
    from asvit.runs.scaling import run_scaling
    from asvit.runs.scoring import score
    from asvit.runs.search import run_search
    from asvit.runs.supernet import train_supernet
    from asvit.runs.training import run_training
    from asvit.search.supernet_result import EvolutionResult
    from asvit.training.supernets.result import SupernetResult

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
    "score",
    "train_supernet",
]

_LAZY = {
    "CorrelationResult": "asvit.reference.result",
    "EvolutionResult": "asvit.search.supernet_result",
    "SupernetResult": "asvit.training.supernets.result",
    "build_reference": "asvit.runs.reference",
    "evolve_supernet": "asvit.runs.evolution",
    "export_network": "asvit.runs.exporting",
    "run_correlation": "asvit.runs.correlation",
    "run_scaling": "asvit.runs.scaling",
    "score": "asvit.runs.scoring",
    "run_search": "asvit.runs.search",
    "run_training": "asvit.runs.training",
    "train_supernet": "asvit.runs.supernet",
}


def __getattr__(name: str) -> object:
    # Running imports torch and Optuna, which finding or reading a run does not need.
    if name not in _LAZY:
        raise AttributeError(f"module 'asvit.runs' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)

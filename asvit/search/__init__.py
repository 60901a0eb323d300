"""Search: controllers propose architectures, the study keeps what measuring them gave.

Importing this package is cheap; torch and Optuna are imported with the names that need them.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from asvit.search.controllers import CONTROLLERS, Controller, get_controller
from asvit.search.rows import Evaluate, Measurement, TrialRow, read_trials, write_trials
from asvit.search.settings import SearchSettings

if TYPE_CHECKING:
    from asvit.search.front import best_row, pareto_front
    from asvit.search.loop import Search
    from asvit.search.policy import JointCategoricalPolicy
    from asvit.search.sampler import ReinforceSampler

__all__ = [
    "CONTROLLERS",
    "Controller",
    "Evaluate",
    "JointCategoricalPolicy",
    "Measurement",
    "ReinforceSampler",
    "Search",
    "SearchSettings",
    "TrialRow",
    "best_row",
    "get_controller",
    "pareto_front",
    "read_trials",
    "write_trials",
]

_LAZY = {
    "JointCategoricalPolicy": "asvit.search.policy",
    "ReinforceSampler": "asvit.search.sampler",
    "Search": "asvit.search.loop",
    "best_row": "asvit.search.front",
    "pareto_front": "asvit.search.front",
}


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module 'asvit.search' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)

"""Search: controllers propose architectures, the study keeps what measuring them gave.

Importing this package is cheap: what needs torch or Optuna is in the modules.
"""

from asvit.search.controllers import CONTROLLERS, Controller, get_controller
from asvit.search.rows import Evaluate, Measurement, TrialRow, read_trials, write_trials
from asvit.search.settings import SearchSettings

__all__ = [
    "CONTROLLERS",
    "Controller",
    "Evaluate",
    "Measurement",
    "SearchSettings",
    "TrialRow",
    "get_controller",
    "read_trials",
    "write_trials",
]

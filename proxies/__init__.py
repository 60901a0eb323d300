"""Training-free measures of freshly initialised networks: any ``nn.Module`` in, numbers out.

Importing this package is cheap; torch is imported with the names that need it. Measures that are
not named here are functions of their modules, as ``proxies.saliency.snip``.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from proxies.registry import PROXIES, Inputs, Proxy, Score, combine, get_proxy, register_measure

if TYPE_CHECKING:
    from proxies.counts import Cost, count
    from proxies.evaluation import measure, measure_repeats, seed_for
    from proxies.expansion import (
        Circle,
        curve_speed,
        extrinsic_curvature,
        gauss_map_length,
        length_distortion,
    )
    from proxies.ntk import ntk_condition_number, ntk_matrix, ntk_spectrum

# Heavy imports wait until a name is used.
_LAZY = {
    "counts": ("Cost", "count"),
    "evaluation": ("measure", "measure_repeats", "seed_for"),
    "expansion": (
        *("Circle", "curve_speed", "length_distortion"),
        *("extrinsic_curvature", "gauss_map_length"),
    ),
    "ntk": ("ntk_condition_number", "ntk_matrix", "ntk_spectrum"),
}

__all__ = [
    "PROXIES",
    "Circle",
    "Cost",
    "Inputs",
    "Proxy",
    "Score",
    "combine",
    "count",
    "curve_speed",
    "extrinsic_curvature",
    "gauss_map_length",
    "get_proxy",
    "length_distortion",
    "measure",
    "measure_repeats",
    "ntk_condition_number",
    "ntk_matrix",
    "ntk_spectrum",
    "register_measure",
    "seed_for",
]


def __getattr__(name: str) -> object:
    for module, names in _LAZY.items():
        if name in names:
            return getattr(import_module(f"proxies.{module}"), name)
    raise AttributeError(f"module 'proxies' has no attribute {name!r}")

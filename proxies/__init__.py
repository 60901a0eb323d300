"""Training-free measures of freshly initialised networks: any ``nn.Module`` in, numbers out.

Importing this package is cheap; torch is imported with the names that need it.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from proxies.registry import PROXIES, Inputs, Proxy, Readings, Score, combine, get_proxy

if TYPE_CHECKING:
    from proxies.activations import (
        contribution_cosine_similarity,
        feature_condition_number,
        head_similarities,
        jacobian_covariance,
        naswot,
    )
    from proxies.az_nas import az_expressivity, az_nas_aggregate, az_progressivity, az_trainability
    from proxies.counts import Cost, count
    from proxies.evaluation import measure, measure_repeats, seed_for
    from proxies.expansion import (
        Circle,
        curve_speed,
        curve_velocity,
        extrinsic_curvature,
        gauss_map_length,
        gauss_map_speed,
        length_distortion,
    )
    from proxies.ntk import ntk_condition_number, ntk_matrix, ntk_spectrum
    from proxies.saliency import fisher, gradient_norm, grasp, snip, zico
    from proxies.structure import depth, embedding_width, residual_blocks, total_expansion
    from proxies.synaptic import dss, synflow

__all__ = [
    "PROXIES",
    "Circle",
    "Cost",
    "Inputs",
    "Proxy",
    "Readings",
    "Score",
    "az_expressivity",
    "az_nas_aggregate",
    "az_progressivity",
    "az_trainability",
    "combine",
    "contribution_cosine_similarity",
    "count",
    "curve_speed",
    "curve_velocity",
    "depth",
    "dss",
    "embedding_width",
    "extrinsic_curvature",
    "feature_condition_number",
    "fisher",
    "gauss_map_length",
    "gauss_map_speed",
    "get_proxy",
    "gradient_norm",
    "grasp",
    "head_similarities",
    "jacobian_covariance",
    "length_distortion",
    "measure",
    "measure_repeats",
    "naswot",
    "ntk_condition_number",
    "ntk_matrix",
    "ntk_spectrum",
    "residual_blocks",
    "seed_for",
    "snip",
    "synflow",
    "total_expansion",
    "zico",
]

# Modules in which a name is looked up, in order.
_MODULES = (
    *("counts", "expansion", "evaluation", "ntk", "saliency", "structure"),
    *("activations", "az_nas", "synaptic"),
)


def __getattr__(name: str) -> object:
    if name in __all__:
        for module in _MODULES:
            found = vars(import_module(f"proxies.{module}"))
            if name in found:
                return found[name]
    raise AttributeError(f"module 'proxies' has no attribute {name!r}")

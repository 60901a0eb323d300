"""Training-free measures of freshly initialised networks: any ``nn.Module`` in, numbers out.

Importing this package is cheap; torch is imported with the names that need it.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from proxies.registry import (
    PROXIES,
    Inputs,
    Proxy,
    Score,
    combine,
    get_proxy,
    register_measure,
)

if TYPE_CHECKING:
    from proxies.activations import (
        contribution_cosine_similarity as contribution_cosine_similarity,
    )
    from proxies.activations import feature_condition_number as feature_condition_number
    from proxies.activations import head_similarities as head_similarities
    from proxies.activations import jacobian_covariance as jacobian_covariance
    from proxies.activations import naswot as naswot
    from proxies.az_nas import az_expressivity as az_expressivity
    from proxies.az_nas import az_progressivity as az_progressivity
    from proxies.az_nas import az_trainability as az_trainability
    from proxies.counts import Cost as Cost
    from proxies.counts import count as count
    from proxies.evaluation import measure as measure
    from proxies.evaluation import measure_repeats as measure_repeats
    from proxies.evaluation import seed_for as seed_for
    from proxies.expansion import Circle as Circle
    from proxies.expansion import curve_speed as curve_speed
    from proxies.expansion import curve_velocity as curve_velocity
    from proxies.expansion import extrinsic_curvature as extrinsic_curvature
    from proxies.expansion import gauss_map_length as gauss_map_length
    from proxies.expansion import length_distortion as length_distortion
    from proxies.ntk import ntk_condition_number as ntk_condition_number
    from proxies.ntk import ntk_matrix as ntk_matrix
    from proxies.ntk import ntk_spectrum as ntk_spectrum
    from proxies.saliency import fisher as fisher
    from proxies.saliency import gradient_norm as gradient_norm
    from proxies.saliency import grasp as grasp
    from proxies.saliency import snip as snip
    from proxies.saliency import zico as zico
    from proxies.structure import depth as depth
    from proxies.structure import embedding_width as embedding_width
    from proxies.structure import residual_blocks as residual_blocks
    from proxies.structure import total_expansion as total_expansion
    from proxies.synaptic import dss as dss
    from proxies.synaptic import synflow as synflow

# Heavy imports wait until a name is used.
_DEFINED_IN = {
    "activations": [
        "contribution_cosine_similarity",
        "feature_condition_number",
        "head_similarities",
        "jacobian_covariance",
        "naswot",
    ],
    "az_nas": ["az_expressivity", "az_progressivity", "az_trainability"],
    "counts": ["Cost", "count"],
    "evaluation": ["measure", "measure_repeats", "seed_for"],
    "expansion": [
        "Circle",
        "curve_speed",
        "curve_velocity",
        "extrinsic_curvature",
        "gauss_map_length",
        "length_distortion",
    ],
    "ntk": ["ntk_condition_number", "ntk_matrix", "ntk_spectrum"],
    "saliency": ["fisher", "gradient_norm", "grasp", "snip", "zico"],
    "structure": ["depth", "embedding_width", "residual_blocks", "total_expansion"],
    "synaptic": ["dss", "synflow"],
}
_LAZY = {name: module for module, names in _DEFINED_IN.items() for name in names}

__all__ = [
    "PROXIES",
    "Inputs",
    "Proxy",
    "Score",
    "combine",
    "get_proxy",
    "register_measure",
    *_LAZY,
]


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module 'proxies' has no attribute {name!r}")
    return getattr(import_module(f"proxies.{_LAZY[name]}"), name)

"""Training-free measures of freshly initialised networks: any ``nn.Module`` in, numbers out."""

from proxies import catalogue  # noqa: F401  registers the measures
from proxies.circle import Circle
from proxies.counts import Cost, count
from proxies.evaluation import Score, measure, seed_for
from proxies.expansion import (
    curve_speed,
    curve_velocity,
    extrinsic_curvature,
    gauss_map_length,
    gauss_map_speed,
    length_distortion,
)
from proxies.ntk import ntk_condition_number, ntk_matrix, ntk_spectrum
from proxies.registry import PROXIES, Inputs, Proxy, get_proxy

__all__ = [
    "PROXIES",
    "Circle",
    "Cost",
    "Inputs",
    "Proxy",
    "Score",
    "count",
    "curve_speed",
    "curve_velocity",
    "extrinsic_curvature",
    "gauss_map_length",
    "gauss_map_speed",
    "get_proxy",
    "length_distortion",
    "measure",
    "ntk_condition_number",
    "ntk_matrix",
    "ntk_spectrum",
    "seed_for",
]

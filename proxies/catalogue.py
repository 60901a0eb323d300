"""Every measure, registered by name."""

from proxies.counts import count
from proxies.expansion import extrinsic_curvature, gauss_map_length, length_distortion
from proxies.ntk import ntk_condition_number
from proxies.registry import Proxy, register

EXPANSION_PAPER = "As-ViT, arXiv:2202.11921"
CURVATURE_PAPER = "Poole et al. 2016, arXiv:1606.05340"

register(
    Proxy(
        "length_distortion",
        "manifold expansion L^E: how much the network lengthens a circle of inputs",
        "higher",
        EXPANSION_PAPER,
        lambda model, inputs: length_distortion(model, inputs.circle),
    )
)
register(
    Proxy(
        "ntk_condition_number",
        "condition number κ_Θ of the neural tangent kernel of a batch",
        "lower",
        EXPANSION_PAPER,
        lambda model, inputs: ntk_condition_number(model, inputs.images),
        undefined="the kernel is singular",
    )
)
register(
    Proxy(
        "extrinsic_curvature",
        "curvature κ of the feature curve, integrated over the circle's angle",
        "reported",
        CURVATURE_PAPER,
        lambda model, inputs: inputs.circle.integrate(extrinsic_curvature(model, inputs.circle)),
    )
)
register(
    Proxy(
        "gauss_map_length",
        "Gauss-map length L^G: how far the feature curve's unit tangent travels",
        "reported",
        CURVATURE_PAPER,
        lambda model, inputs: gauss_map_length(model, inputs.circle),
    )
)
register(
    Proxy(
        "params",
        "number of parameters, the first trivial rival",
        "higher",
        "none",
        lambda model, inputs: float(count(model, inputs.image_size).params),
        random=False,
    )
)
register(
    Proxy(
        "macs",
        "multiply-adds of convolutions, linear layers and matrix products, batch 1",
        "higher",
        "none",
        lambda model, inputs: float(count(model, inputs.image_size).macs),
        random=False,
    )
)

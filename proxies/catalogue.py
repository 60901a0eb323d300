"""All measures, registered by name."""

from collections.abc import Callable

from torch import Tensor, nn

from proxies.activations import contribution_cosine_similarity, jacobian_covariance, naswot
from proxies.az_nas import (
    az_expressivity,
    az_progressivity,
    az_trainability,
    standard_normal_like,
)
from proxies.counts import count
from proxies.expansion import (
    extrinsic_curvature,
    gauss_map_length,
    length_distortion,
    length_distortions,
)
from proxies.ntk import ntk_condition_number, ntk_condition_numbers
from proxies.registry import Inputs, Proxy, register
from proxies.saliency import fisher, gradient_norm, grasp, snip, zico
from proxies.structure import depth, embedding_width, total_expansion
from proxies.synaptic import dss, synflow

EXPANSION_PAPER = "As-ViT, arXiv:2202.11921"
CURVATURE_PAPER = "Poole et al. 2016, arXiv:1606.05340"
NASWOT_PAPER = "Mellor et al. 2020, arXiv:2006.04647"
AZ_NAS_PAPER = "AZ-NAS, arXiv:2403.19232"
ZERO_COST_PAPER = "Abdelfattah et al. 2021, arXiv:2101.08134"


def _baseline(name: str, description: str, size: Callable[[nn.Module, Inputs], float]) -> Proxy:
    """A trivial baseline, which does not depend on the initial weights."""
    return Proxy(
        name, description, "higher", "none", lambda *given: float(size(*given)), random=False
    )


def _condition_number(name: str, description: str, *, final_norm: bool) -> Proxy:
    return Proxy(
        name,
        description,
        "lower",
        EXPANSION_PAPER,
        lambda model, inputs: ntk_condition_number(model, inputs.images, final_norm=final_norm),
        undefined="the kernel is singular",
        together=lambda models, inputs: ntk_condition_numbers(
            models, inputs[0].images, final_norm=final_norm
        ),
    )


def _noise(inputs: Inputs) -> Tensor:
    return standard_normal_like(inputs.images, inputs.seed)


_MEASURES = (
    Proxy(
        "length_distortion",
        "manifold expansion L^E: how much the network lengthens a circle of inputs",
        "higher",
        EXPANSION_PAPER,
        lambda model, inputs: length_distortion(model, inputs.circle),
        together=lambda models, inputs: length_distortions(models, [i.circle for i in inputs]),
    ),
    _condition_number(
        "ntk_condition_number",
        "condition number κ_Θ of the neural tangent kernel of a batch",
        final_norm=False,
    ),
    _condition_number(
        "ntk_condition_number_normed",
        "κ_Θ of the feature after the final normalisation, the input of the head",
        final_norm=True,
    ),
    Proxy(
        "extrinsic_curvature",
        "curvature κ of the feature curve, integrated over the circle's angle",
        "reported",
        CURVATURE_PAPER,
        lambda model, inputs: inputs.circle.integrate(extrinsic_curvature(model, inputs.circle)),
    ),
    Proxy(
        "gauss_map_length",
        "Gauss-map length L^G: how far the feature curve's unit tangent travels",
        "reported",
        CURVATURE_PAPER,
        lambda model, inputs: gauss_map_length(model, inputs.circle),
    ),
    _baseline(
        "params",
        "number of parameters, a trivial baseline",
        lambda model, inputs: count(model, inputs.image_size).params,
    ),
    _baseline(
        "macs",
        "multiply-adds of convolutions, linear layers and matrix products, batch 1",
        lambda model, inputs: count(model, inputs.image_size).macs,
    ),
    # Gradients, of a loss or of the flow through absolute weights.
    Proxy(
        "synflow",
        "logarithm of the synaptic flow: total weight of all paths, without data",
        "higher",
        "Tanaka et al. 2020, arXiv:2006.05467",
        lambda model, inputs: synflow(model, inputs.images),
        undefined="the flow is not positive: a layer starts at zero, or centres its weights",
    ),
    Proxy(
        "snip",
        "connection sensitivity: change of the loss without each weight, summed",
        "higher",
        "Lee et al. 2019, arXiv:1810.02340",
        lambda model, inputs: snip(model, inputs.images, inputs.labels),
    ),
    Proxy(
        "grad_norm",
        "Euclidean norms of the loss gradient, summed over parameter tensors",
        "higher",
        ZERO_COST_PAPER,
        lambda model, inputs: gradient_norm(model, inputs.images, inputs.labels),
    ),
    Proxy(
        "grasp",
        "gradient signal preservation, −θᵀHg: how much the weights reduce the gradient",
        "higher",
        "Wang et al. 2020, arXiv:2002.07376",
        lambda model, inputs: grasp(model, inputs.images, inputs.labels),
    ),
    Proxy(
        "fisher",
        "Fisher information of the activations of linear layers and convolutions",
        "higher",
        ZERO_COST_PAPER,
        lambda model, inputs: fisher(model, inputs.images, inputs.labels),
    ),
    Proxy(
        "zico",
        "ZiCo: how little each weight's gradient varies between two halves of the batch",
        "higher",
        "Li et al. 2023, arXiv:2301.11300",
        lambda model, inputs: zico(model, inputs.images, inputs.labels),
        undefined="no gradient differs between the halves of the batch",
    ),
    Proxy(
        "dss",
        "DSS: synaptic diversity of attention and saliency of the MLPs, without data",
        "higher",
        "TF-TAS, arXiv:2203.12217",
        lambda model, inputs: dss(model, inputs.images),
    ),
    # Differences between images, in attention maps, input gradients and activations.
    Proxy(
        "ccs",
        "CCS: cosine similarity between the maps of different attention heads",
        "lower",
        "arXiv:2306.10875",
        lambda model, inputs: contribution_cosine_similarity(model, inputs.images),
    ),
    Proxy(
        "jacob_cov",
        "how little the input gradients of different images correlate",
        "higher",
        NASWOT_PAPER,
        lambda model, inputs: jacobian_covariance(model, inputs.images),
    ),
    Proxy(
        "naswot",
        "number of units that are on for one image and off for another: ln det of a kernel",
        "higher",
        NASWOT_PAPER,
        lambda model, inputs: naswot(model, inputs.images),
        undefined="two images have the same code, or there are too few units",
    ),
    # AZ-NAS, whose inputs are always standard normal noise; its complexity measure is macs.
    Proxy(
        "az_expressivity",
        "how isotropic features are, summed over blocks",
        "higher",
        AZ_NAS_PAPER,
        lambda model, inputs: az_expressivity(model, _noise(inputs)),
    ),
    Proxy(
        "az_progressivity",
        "smallest gain in expressivity from block to block",
        "higher",
        AZ_NAS_PAPER,
        lambda model, inputs: az_progressivity(model, _noise(inputs)),
    ),
    Proxy(
        "az_trainability",
        "how closely blocks preserve the norm of gradients",
        "higher",
        AZ_NAS_PAPER,
        # The signs use another seed than the noise.
        lambda model, inputs: az_trainability(model, _noise(inputs), seed=inputs.seed + 1),
    ),
    # Trivial baselines.
    _baseline("depth", "number of residual blocks", lambda model, _: depth(model)),
    _baseline(
        "width", "channels of a token in the first block", lambda model, _: embedding_width(model)
    ),
    _baseline(
        "expansions",
        "expansions of the feed-forward parts, summed over blocks",
        lambda model, _: total_expansion(model),
    ),
)

for _measure in _MEASURES:
    register(_measure)

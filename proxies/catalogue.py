"""All measures, registered by name."""

from collections.abc import Callable
from functools import partial
from inspect import signature
from typing import Any

from torch import nn

from proxies import (
    activations,
    az_nas,
    counts,
    expansion,
    ntk,
    saliency,
    structure,
    synaptic,
    timing,
)
from proxies.registry import Better, Inputs, Proxy, register
from proxies.samples import independent_curve, independent_images, repeatable_images

EXPANSION_PAPER = "As-ViT, arXiv:2202.11921"
CURVATURE_PAPER = "Poole et al. 2016, arXiv:1606.05340"
NASWOT_PAPER = "Mellor et al. 2020, arXiv:2006.04647"
AZ_NAS_PAPER = "AZ-NAS, arXiv:2403.19232"
ZERO_COST_PAPER = "Abdelfattah et al. 2021, arXiv:2101.08134"


def _measure(
    function: Callable[..., float],
    description: str,
    paper: str,
    better: Better = "higher",
    *,
    name: str = "",
    check: Callable[[nn.Module, Inputs], str] | None = repeatable_images,
    **more: Any,
) -> Proxy:
    """A measure by a function of a network and the :class:`Inputs` that its parameters name."""
    parameters = signature(function).parameters
    fields = [field for field in Inputs.__dataclass_fields__ if field in parameters]

    def value(model: nn.Module, inputs: Inputs) -> float:
        return float(function(model, **{field: getattr(inputs, field) for field in fields}))

    name = name or function.__name__
    return Proxy(name, description, better, paper, value, check=check, **more)


def _on_noise(function: Callable[..., float]) -> Callable[..., float]:
    return lambda model, images, seed: function(model, az_nas.standard_normal_like(images, seed))


# A trivial baseline, which does not depend on the initial weights.
_baseline = partial(_measure, paper="none", random=False, check=None)

_MEASURES = (
    _measure(
        expansion.length_distortion,
        "manifold expansion L^E: how much the network lengthens a circle of inputs",
        EXPANSION_PAPER,
        check=independent_curve,
        together=lambda models, inputs: expansion.length_distortions(
            models, [i.circle for i in inputs]
        ),
    ),
    _measure(
        ntk.ntk_condition_number,
        "condition number κ_Θ of the neural tangent kernel of a batch",
        EXPANSION_PAPER,
        "lower",
        undefined="the kernel is singular",
        check=independent_curve,
        checks_itself=True,
        together=lambda models, inputs: ntk.ntk_condition_numbers(models, inputs[0].images),
    ),
    _measure(
        activations.feature_condition_number,
        "condition number of the Gram matrix of the features that the head reads",
        "none",
        "lower",
        undefined="the features of the images are linearly dependent",
        check=independent_images,
    ),
    _measure(
        lambda model, circle: circle.integrate(expansion.extrinsic_curvature(model, circle)),
        "curvature κ of the feature curve, integrated over the circle's angle",
        CURVATURE_PAPER,
        "reported",
        name="extrinsic_curvature",
        check=independent_curve,
    ),
    _measure(
        expansion.gauss_map_length,
        "Gauss-map length L^G: how far the feature curve's unit tangent travels",
        CURVATURE_PAPER,
        "reported",
        check=independent_curve,
    ),
    _baseline(counts.parameters, "number of parameters, a trivial baseline", name="params"),
    _baseline(
        lambda model, images: counts.count(model, images.shape[-1], images.shape[1]).macs,
        "multiply-adds of convolutions, linear layers and matrix products, batch 1",
        name="macs",
    ),
    # Gradients, of a loss or of the flow through absolute weights.
    _measure(
        synaptic.synflow,
        "logarithm of the synaptic flow: total weight of all paths, without data",
        "Tanaka et al. 2020, arXiv:2006.05467",
        undefined="the flow is not positive: a layer starts at zero, or centres its weights",
    ),
    _measure(
        saliency.snip,
        "connection sensitivity: change of the loss without each weight, summed",
        "Lee et al. 2019, arXiv:1810.02340",
    ),
    _measure(
        saliency.gradient_norm,
        "Euclidean norms of the loss gradient, summed over parameter tensors",
        ZERO_COST_PAPER,
        name="grad_norm",
    ),
    _measure(
        saliency.grasp,
        "gradient signal preservation, −θᵀHg: how much the weights reduce the gradient",
        "Wang et al. 2020, arXiv:2002.07376",
        check=independent_images,  # H is summed over parts of the batch
    ),
    _measure(
        saliency.fisher,
        "Fisher information of the activations of linear layers and convolutions",
        ZERO_COST_PAPER,
    ),
    _measure(
        saliency.zico,
        "ZiCo: how little each weight's gradient varies between two halves of the batch",
        "Li et al. 2023, arXiv:2301.11300",
        undefined="no gradient differs between the halves of the batch",
    ),
    _measure(
        synaptic.dss,
        "DSS: synaptic diversity of attention and saliency of the MLPs, without data",
        "TF-TAS, arXiv:2203.12217",
    ),
    # Differences between images, in attention maps, input gradients and activations.
    _measure(
        activations.contribution_cosine_similarity,
        "CCS: cosine similarity between the maps of different attention heads",
        "arXiv:2306.10875",
        "lower",
        name="ccs",
    ),
    _measure(
        activations.jacobian_covariance,
        "how little the input gradients of different images correlate",
        NASWOT_PAPER,
        name="jacob_cov",
        check=independent_images,
    ),
    _measure(
        activations.naswot,
        "number of units that are on for one image and off for another: ln det of a kernel",
        NASWOT_PAPER,
        undefined="two images have the same code, or there are too few units",
        check=independent_images,
    ),
    # AZ-NAS, whose inputs are always standard normal noise; its complexity measure is macs.
    _measure(
        _on_noise(az_nas.az_expressivity),
        "how isotropic features are, summed over blocks",
        AZ_NAS_PAPER,
        name="az_expressivity",
    ),
    _measure(
        _on_noise(az_nas.az_progressivity),
        "smallest gain in expressivity from block to block",
        AZ_NAS_PAPER,
        name="az_progressivity",
    ),
    _measure(
        # The signs use another seed than the noise.
        lambda model, images, seed: az_nas.az_trainability(
            model, az_nas.standard_normal_like(images, seed), seed=seed + 1
        ),
        "how closely blocks preserve the norm of gradients",
        AZ_NAS_PAPER,
        name="az_trainability",
    ),
    # Trivial baselines.
    _baseline(structure.depth, "number of residual blocks"),
    _baseline(structure.embedding_width, "channels of a token in the first block", name="width"),
    _baseline(
        structure.total_expansion,
        "expansions of the feed-forward parts, summed over blocks",
        name="expansions",
    ),
    _baseline(
        timing.milliseconds,
        "milliseconds of a forward pass of one image, on the device that measures",
        better="lower",
        name="latency",
        timed=True,
    ),
)

for _proxy in _MEASURES:
    register(_proxy)

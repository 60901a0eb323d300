"""DSS: synaptic diversity of attention and synaptic saliency of the MLPs (TF-TAS)."""

import re
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from proxies.features import evaluating
from proxies.saliency import total
from proxies.synaptic_flow import absolute_parameters, response_to_ones

Part = Literal["attention", "mlp"]

# Class names of attention and MLPs, in asvit, timm and torch; attention pooling is a head.
_ATTENTION = re.compile(r"(Attention|Attn|MHSA|XCA)(?!.*Block)")
_POOLING = re.compile(r"(Attention|Attn)Pool(?!First)")
_MLP = re.compile(r"(Mlp|MLP|FeedForward|FFN|SwiGLU)(?!.*Head)")
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def dss(model: nn.Module, images: Tensor) -> float:
    """DSS indicator of a transformer, ``Σ_l D_l + S_l`` over its blocks.

    With ``R`` the summed output for an image of ones, with absolute parameters:

    * synaptic diversity of attention, ``D_l = Σ_m ‖∂R/∂W_m‖_* ‖W_m‖_*`` over the linear maps of
      block ``l``'s attention, with the nuclear norm;
    * synaptic saliency of the MLP, ``S_l = Σ_n Σ |∂R/∂W_n ⊙ W_n|`` over its linear maps.

    Normalisations and activation functions are kept, so there is no overflow. Gradients therefore
    have both signs, and saliencies are absolute values, as in the paper's code. That code also
    adds the saliency of the patch embedding and the head, which the formula does not, and treats
    every square linear map as attention. Query, key and value in one linear map are one matrix, as
    in that code.

    In units of the output; higher is better. One forward and one backward pass of one image, in
    float64, and the singular values of attention weights and their gradients.

    Args:
        model: Any transformer whose attention and MLPs have recognisable class names, or whose
            blocks are attention and linear maps; not changed, none of its weights is written to.
        images: ``[n, C, H, W]``; only the shape is used.

    Raises:
        ValueError: If the model has no attention, or its weights do not reach the output.

    References:
        Zhou et al. 2022, arXiv:2203.12217.
    """
    parts = _parts(model)
    if "attention" not in parts.values():
        raise ValueError(
            f"{type(model).__name__} has no attention with linear maps; dss needs a transformer"
        )
    parameters = absolute_parameters(model)
    weights = [parameters[parameter].requires_grad_() for parameter in parts]
    with evaluating(model), torch.enable_grad():
        response = response_to_ones(model, parameters, images)
        gradients = torch.autograd.grad(response, weights, allow_unused=True)
    triples = zip(parts.values(), weights, gradients, strict=True)
    return total(
        _diversity(weight.detach(), gradient)
        if part == "attention"
        else (weight.detach() * gradient).abs()
        for part, weight, gradient in triples
        if gradient is not None
    )


def _diversity(weight: Tensor, gradient: Tensor) -> Tensor:
    """Product of the nuclear norms."""
    pair = torch.stack([weight, gradient]).flatten(2)
    norms: Tensor = torch.linalg.matrix_norm(pair, "nuc")
    return norms.prod()


def _parts(model: nn.Module) -> dict[nn.Parameter, Part]:
    """Part of each weight of the linear maps in attention and MLPs, without duplicates."""
    modules = dict(model.named_modules())
    parts: dict[nn.Parameter, Part] = {}
    for path, module in modules.items():
        if (part := _part(modules, path)) is not None:
            for weight in _linear_maps(module):
                parts.setdefault(weight, part)
    return parts


def _part(modules: Mapping[str, nn.Module], path: str) -> Part | None:
    """The innermost part that contains a module, without the model itself."""
    part: Part | None = None
    while path:
        kind = type(modules[path]).__name__
        if _POOLING.search(kind):
            return None
        if part is None and _ATTENTION.search(kind):
            part = "attention"
        # Everything in a block besides its attention is its MLP, whatever its name.
        if part is None and (_MLP.search(kind) or _holds_attention(modules[path])):
            part = "mlp"
        path = path.rpartition(".")[0]
    return part


def _holds_attention(module: nn.Module) -> bool:
    """Whether a child is attention, directly or in a container."""
    return any(
        _holds_attention(child)
        if isinstance(child, _CONTAINERS)
        else _ATTENTION.search(type(child).__name__)
        for child in module.children()
    )


def _linear_maps(module: nn.Module) -> list[nn.Parameter]:
    """Weight matrices of a linear map or of torch's multi-head attention."""
    found: list[object] = []
    if isinstance(module, nn.Linear):
        found = [module.weight]
    if isinstance(module, nn.MultiheadAttention):
        names = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")
        found = [getattr(module, name) for name in names]
    return [weight for weight in found if isinstance(weight, nn.Parameter)]

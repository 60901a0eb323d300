"""Measures without data: synaptic flow (SynFlow), and synaptic diversity and saliency (DSS)."""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from proxies.activations import is_rectifier
from proxies.features import evaluating, measured, reference_tensor
from proxies.forward_mode import normalize_arguments
from proxies.functional import (
    InterceptOperations,
    Operation,
    call_with_tensors,
    forms_of,
    model_errors,
)
from proxies.registry import register_measure
from proxies.saliency import total
from proxies.samples import repeatable_images


@register_measure(
    "logarithm of the synaptic flow: total weight of all paths, without data",
    paper="Tanaka et al. 2020, arXiv:2006.05467",
    undefined="the flow is not positive: a layer starts at zero, or centres its weights",
    check=repeatable_images,
)
def synflow(model: nn.Module, images: Tensor) -> float:
    """Logarithm of the synaptic flow ``Σ θ ⊙ ∂R/∂θ`` with ``R = 1ᵀ (Π |θ|) 1``.

    ``R`` sums, over all paths from inputs to outputs, the product of absolute weights along the
    path. It is the output of a network of absolute weights for an image of ones if only weights
    act on it: normalisations and activation functions are the identity; attention averages its
    values, as it does for equal tokens. Sigmoid gates are kept. Biases and tokens start paths.

    By Euler's theorem the flow is the derivative of ``R`` with respect to a common factor of all
    parameters. One forward and one backward pass of one image, in float64. Dimensionless; of the
    images only the shape is used. Infinite beyond float64, NaN if no path reaches the output, for
    instance because the head starts at zero. A ValueError if the model does not return one tensor,
    or no parameter reaches it.
    """
    state = measured(model, norms="bypassed")
    with state, torch.enable_grad(), _OnlyWeightsAct():
        factor = torch.ones((), dtype=torch.float64, device=reference_tensor(model).device)
        factor.requires_grad_()
        weights = {p: factor * size for p, size in absolute_parameters(model).items()}
        paths = response_to_ones(model, weights, images)
        flow, response = torch.stack(
            [*torch.autograd.grad(paths, factor), paths.detach()]
        ).tolist()
    if not math.isfinite(response):
        return math.inf
    return math.log(flow) if flow > 0 else math.nan


def absolute_parameters(model: nn.Module) -> dict[nn.Parameter, Tensor]:
    """Copies of all parameters' absolute values, in float64."""
    return {p: p.detach().double().abs() for p in model.parameters()}


def response_to_ones(
    model: nn.Module, parameters: Mapping[nn.Parameter, Tensor], images: Tensor
) -> Tensor:
    """Summed output of a model with other parameters for one image of ones, in float64."""
    device = reference_tensor(model).device
    ones = torch.ones(1, *images.shape[1:], dtype=torch.float64, device=device)
    kind = type(model).__name__

    def substitute(tensor: Tensor) -> Tensor:
        if isinstance(tensor, nn.Parameter):
            return parameters[tensor]
        return tensor.double() if tensor.is_floating_point() else tensor

    with model_errors(model):
        out = call_with_tensors(model, substitute, ones)
    if not isinstance(out, Tensor):
        raise ValueError(f"{kind} gives {type(out).__name__}; this measure needs one tensor")
    if not out.requires_grad:
        raise ValueError(f"no parameter of {kind} reaches its output")
    return out.sum()


def _identity(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return input


def _uniform_softmax(input: Tensor, dim: int = -1, *args: Any, **kwargs: Any) -> Tensor:
    return torch.full_like(input, 1 / input.shape[dim])


def _mean_value(*args: Any, **kwargs: Any) -> Tensor:
    query, _, value, _, _ = normalize_arguments(*args, **kwargs)
    return value.mean(-2, keepdim=True).expand(*query.shape[:-1], value.shape[-1])


def _mean_multi_head(query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> Any:
    """Equal queries and keys make the softmax uniform."""
    equal = torch.zeros_like(query), torch.zeros_like(key)
    return F.multi_head_attention_forward(*equal, value, *args, **kwargs)


# Activations beside rectifiers.
_SATURATING = ("hardtanh", "logsigmoid", "tanh", "tanhshrink", "softsign")
_SHRINKING = ("softshrink", "hardshrink")


class _OnlyWeightsAct(InterceptOperations):
    """Inside, activation functions are the identity, and attention averages its values."""

    replacements: ClassVar[Mapping[Operation, Operation]] = {
        **dict.fromkeys(forms_of(*_SATURATING, *_SHRINKING), _identity),
        **dict.fromkeys(forms_of("softmax"), _uniform_softmax),
        F.scaled_dot_product_attention: _mean_value,
        F.multi_head_attention_forward: _mean_multi_head,
    }

    def intercept(self, func: Operation, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Call what replaces ``func``, if anything."""
        if is_rectifier(func, args, kwargs):
            return _identity(*args, **kwargs)
        return super().intercept(func, args, kwargs)


Part = Literal["attention", "mlp"]

# Class names of attention and MLPs, in asvit, timm and torch; attention pooling is a head.
_ATTENTION = re.compile(r"(Attention|Attn|MHSA|XCA)(?!.*Block)")
_POOLING = re.compile(r"(Attention|Attn)Pool(?!First)")
_MLP = re.compile(r"(Mlp|MLP|FeedForward|FFN|SwiGLU)(?!.*Head)")
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


@register_measure(
    "DSS: synaptic diversity of attention and saliency of the MLPs, without data",
    paper="TF-TAS, arXiv:2203.12217",
    check=repeatable_images,
)
def dss(model: nn.Module, images: Tensor) -> float:
    """DSS indicator of a transformer, ``Σ_l D_l + S_l`` over its blocks.

    With ``R`` the summed output for an image of ones, with absolute parameters:

    * synaptic diversity of attention, ``D_l = Σ_m ‖∂R/∂W_m‖_* ‖W_m‖_*`` over the linear maps of
      block ``l``'s attention, with the nuclear norm;
    * synaptic saliency of the MLP, ``S_l = Σ_n Σ |∂R/∂W_n ⊙ W_n|`` over its linear maps.

    Normalisations and activation functions are kept, so that transformers do not overflow.
    Gradients therefore have both signs, and saliencies are absolute values, as in the paper's
    code. Query, key and value in one linear map are one matrix, as in that code.

    In units of the output; infinite beyond float64. One forward and one backward pass of an image,
    in float64, and the singular values of attention weights and gradients. Attention and MLPs are
    recognised by their class names, or by standing beside each other in a block. A ValueError if
    the model has no attention, or its weights do not reach the output.
    """
    parts: dict[nn.Parameter, Part] = {}
    for weight, part in _parts(model):
        parts.setdefault(weight, part)
    if "attention" not in parts.values():
        raise ValueError(
            f"{type(model).__name__} has no attention with linear maps; dss needs a transformer"
        )
    with evaluating(model), torch.enable_grad():
        parameters = absolute_parameters(model)
        weights = [parameters[parameter].requires_grad_() for parameter in parts]
        response = response_to_ones(model, parameters, images)
        gradients = torch.autograd.grad(response, weights, allow_unused=True)
    triples = zip(parts.values(), weights, gradients, strict=True)
    score = total(
        _diversity(weight.detach(), gradient)
        if part == "attention"
        else (weight.detach() * gradient).abs()
        for part, weight, gradient in triples
        if gradient is not None
    )
    overflow = math.isnan(score) and math.isfinite(response.detach())
    return math.inf if overflow else score


def _diversity(weight: Tensor, gradient: Tensor) -> Tensor:
    """Product of the nuclear norms; NaN for a gradient beyond float64, which has no norm."""
    pair = torch.stack([weight, gradient]).flatten(2)
    norms: Tensor = torch.linalg.matrix_norm(pair.nan_to_num(), "nuc")
    return norms.prod() + 0 * gradient.sum()


def _parts(module: nn.Module, part: Part | None = None) -> Iterator[tuple[nn.Parameter, Part]]:
    """The weights of the linear maps in attention and MLPs, by the innermost of these."""
    for child in module.children():
        kind, own = type(child).__name__, part
        if _POOLING.search(kind):
            continue
        if _ATTENTION.search(kind):
            own = "attention"
        # Everything in a block besides its attention is its MLP, whatever its name.
        elif _MLP.search(kind) or _holds_attention(child):
            own = "mlp"
        if own is not None:
            yield from ((weight, own) for weight in _linear_maps(child))
        yield from _parts(child, own)


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
    names = ["weight"] if isinstance(module, nn.Linear) else []
    if isinstance(module, nn.MultiheadAttention):
        names = ["in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"]
    return [w for name in names if isinstance(w := getattr(module, name), nn.Parameter)]

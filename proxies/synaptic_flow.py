"""Synaptic flow: the total weight of all paths through a network, without data."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from proxies.attention import normalize_arguments
from proxies.features import measured, reference_tensor
from proxies.functional import call_with_tensors, model_errors, substitutes
from proxies.operations import Operation, ReplaceOperations


def synflow(model: nn.Module, images: Tensor) -> float:
    """Logarithm of the synaptic flow ``Σ θ ⊙ ∂R/∂θ`` with ``R = 1ᵀ (Π |θ|) 1``.

    ``R`` sums, over all paths from inputs to outputs, the product of absolute weights along the
    path. It is the output of a network of absolute weights for an image of ones if only weights
    act on it: normalisations are the identity, and so are activation functions, like ReLU of
    positive numbers; attention averages its values, as it does for equal tokens. Sigmoid gates are
    kept. Biases and tokens start paths of their own.

    By Euler's theorem the flow is the derivative of ``R`` with respect to a common factor of all
    parameters. One forward and one backward pass of one image, in float64, which reaches 10³⁰⁸.
    Dimensionless; higher is better.

    Widely used code keeps activation functions and, in transformers, layer norms; it sums only
    over the weights of convolutions and linear layers, and takes no logarithm, so that deep
    networks overflow float32.

    Args:
        model: Any module; not changed, none of its weights is written to.
        images: ``[n, C, H, W]``; only the shape is used.

    Returns:
        The score; infinite beyond float64, NaN if no path reaches the output, for instance because
        the head starts at zero.

    Raises:
        ValueError: If the model does not return one tensor, or no parameter reaches it.

    References:
        Tanaka et al. 2020, arXiv:2006.05467; summed over a network in arXiv:2101.08134.
    """
    with measured(model, norms="bypassed"), torch.enable_grad(), _OnlyWeightsAct():
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
    """Summed output of a model with other parameters for one image of ones, in float64.

    Args:
        model: Any module that returns one tensor.
        parameters: Replacement of each parameter of the model.
        images: ``[n, C, H, W]``; only the shape is used.

    Raises:
        ValueError: If the model cannot take the image, does not return one tensor, or no parameter
            reaches it.
    """
    device = reference_tensor(model).device
    ones = torch.ones(1, *images.shape[1:], dtype=torch.float64, device=device)
    kind = type(model).__name__

    def substitute(tensor: Tensor) -> Tensor:
        if isinstance(tensor, nn.Parameter):
            return parameters[tensor]
        return tensor.double() if tensor.is_floating_point() else tensor

    with model_errors(model):
        out = call_with_tensors(model, substitutes(model, substitute), ones)
    if not isinstance(out, Tensor):
        raise ValueError(f"{kind} gives {type(out).__name__}; this measure needs one tensor")
    if not out.requires_grad:
        raise ValueError(f"no parameter of {kind} reaches its output")
    return out.sum()


def _identity(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return x


def _uniform_softmax(x: Tensor, dim: int = -1, *args: Any, **kwargs: Any) -> Tensor:
    return torch.full_like(x, 1 / x.shape[dim])


def _mean_value(*args: Any, **kwargs: Any) -> Tensor:
    query, _, value, _, _ = normalize_arguments(*args, **kwargs)
    return value.mean(-2, keepdim=True).expand(*query.shape[:-1], value.shape[-1])


def _mean_multi_head(query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> Any:
    """Equal queries and keys make the softmax uniform."""
    equal = torch.zeros_like(query), torch.zeros_like(key)
    return F.multi_head_attention_forward(*equal, value, *args, **kwargs)


_ACTIVATIONS: tuple[Operation, ...] = (
    *(F.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_, F.relu6, F.hardtanh),
    *(F.gelu, F.silu, F.mish, F.hardswish, F.softplus, F.leaky_relu, F.prelu, torch.prelu),
    *(F.elu, F.celu, F.selu, F.tanh, torch.tanh, Tensor.tanh, Tensor.tanh_),
)


class _OnlyWeightsAct(ReplaceOperations):
    """Inside, activation functions are the identity, and attention averages its values."""

    replacements: ClassVar[Mapping[Operation, Operation]] = {
        **dict.fromkeys(_ACTIVATIONS, _identity),
        **dict.fromkeys((F.softmax, torch.softmax, Tensor.softmax), _uniform_softmax),
        F.scaled_dot_product_attention: _mean_value,
        F.multi_head_attention_forward: _mean_multi_head,
    }

"""Synaptic flow: the weight of all paths through a network, without data."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from proxies.attention import plain_arguments
from proxies.errors import first_line
from proxies.features import measured, reference_tensor
from proxies.substitution import call_with, stand_ins


def synflow(model: nn.Module, images: Tensor) -> float:
    """Logarithm of the synaptic flow ``Σ θ ⊙ ∂R/∂θ`` with ``R = 1ᵀ (Π |θ|) 1``.

    ``R`` adds up the absolute weights of all paths from the inputs to the outputs, each path the
    product along it: what a network of absolute weights gives for an image of ones, if nothing in
    it but the weights counts. So normalisations are the identity; so are activation functions, as
    ReLU is for positive numbers; attention takes the mean of its values, as it does where tokens
    are alike. Sigmoid gates stay. Biases and tokens start paths of their own.

    By Euler's rule the flow is the derivative of ``R`` by one factor on all parameters: one
    forward and one backward pass of one image, in float64, which reaches to 10³⁰⁸. Dimensionless;
    higher is better.

    Widely used code keeps the activation functions and, in transformers, the layer norms, sums
    over the weights of convolutions and linear layers only, and takes no logarithm: in float32
    that overflows for deep networks.

    Args:
        model: Any module; left as it was, no weight of it is written to.
        images: ``[n, C, H, W]``; only the shape is used.

    Returns:
        The score; infinite beyond float64, NaN where no path reaches the output, as behind a head
        that starts at zero.

    Raises:
        ValueError: If the model gives something else than one tensor, or one that no parameter
            reaches.

    References:
        Tanaka et al. 2020, arXiv:2006.05467; summed over a network in arXiv:2101.08134.
    """
    with measured(model, norms="bypassed"), torch.enable_grad(), _OnlyWeights():
        factor = torch.ones((), dtype=torch.float64, device=reference_tensor(model).device)
        factor.requires_grad_()
        weights = {p: factor * size for p, size in absolute_parameters(model).items()}
        paths = response_to_ones(model, weights, images)
        flow, of_ones = torch.stack([*torch.autograd.grad(paths, factor), paths.detach()]).tolist()
    if not math.isfinite(of_ones):
        return math.inf
    return math.log(flow) if flow > 0 else math.nan


def absolute_parameters(model: nn.Module) -> dict[nn.Parameter, Tensor]:
    """Absolute values of all parameters, in float64; copies."""
    return {p: p.detach().double().abs() for p in model.parameters()}


def response_to_ones(
    model: nn.Module, parameters: Mapping[nn.Parameter, Tensor], images: Tensor
) -> Tensor:
    """Sum of what a model with other parameters gives for one image of ones, in float64.

    Args:
        model: Any module that gives one tensor.
        parameters: What stands in for each of the model's own.
        images: ``[n, C, H, W]``; only the shape is used.

    Raises:
        ValueError: If the model cannot take the image, or gives something else than one tensor,
            or one that no parameter reaches.
    """
    device = reference_tensor(model).device
    ones = torch.ones(1, *images.shape[1:], dtype=torch.float64, device=device)
    kind = type(model).__name__

    def substitute(tensor: Tensor) -> Tensor:
        if isinstance(tensor, nn.Parameter):
            return parameters[tensor]
        return tensor.double() if tensor.is_floating_point() else tensor

    try:
        out = call_with(model, stand_ins(model, substitute), ones)
    except (AttributeError, LookupError, TypeError) as error:
        raise ValueError(f"{kind}: {first_line(error)}") from error
    if not isinstance(out, Tensor):
        raise ValueError(f"{kind} gives {type(out).__name__}; this measure needs one tensor")
    if not out.requires_grad:
        raise ValueError(f"no parameter of {kind} reaches its output")
    return out.sum()


class _OnlyWeights(TorchFunctionMode):
    """Inside, activation functions are the identity and attention takes the mean."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        rule: Callable[..., Any] = _RULES.get(func, func)
        return rule(*args, **(kwargs or {}))


def _identity(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return x


def _equal_shares(x: Tensor, dim: int = -1, *args: Any, **kwargs: Any) -> Tensor:
    return torch.full_like(x, 1 / x.shape[dim])


def _mean_value(*args: Any, **kwargs: Any) -> Tensor:
    (query, _, value), _, _ = plain_arguments(*args, **kwargs)
    return value.mean(-2, keepdim=True).expand(*query.shape[:-1], value.shape[-1])


def _mean_multi_head(query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> Any:
    """All keys alike, so that the function's own softmax is even."""
    alike = torch.zeros_like(query), torch.zeros_like(key)
    return F.multi_head_attention_forward(*alike, value, *args, **kwargs)


_ACTIVATIONS: tuple[Callable[..., Any], ...] = (
    *(F.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_, F.relu6, F.hardtanh),
    *(F.gelu, F.silu, F.mish, F.hardswish, F.softplus, F.leaky_relu, F.prelu, torch.prelu),
    *(F.elu, F.celu, F.selu, F.tanh, torch.tanh, Tensor.tanh, Tensor.tanh_),
)
_RULES: dict[Callable[..., Any], Callable[..., Any]] = {
    **dict.fromkeys(_ACTIVATIONS, _identity),
    **dict.fromkeys((F.softmax, torch.softmax, Tensor.softmax), _equal_shares),
    F.scaled_dot_product_attention: _mean_value,
    F.multi_head_attention_forward: _mean_multi_head,
}

"""Forward-mode rules for operations that PyTorch has no rule, or a slow one, for.

The rules come twice: for one network, and for all networks of a :class:`proxies.functional.Stack`,
whose dual numbers are hidden behind vmap's tensors.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import forward_ad
from torch.func import vmap

from proxies.attention import (
    AttentionCall,
    align_stacked_bias,
    attention_with_tangent,
    explicit_attention,
    normalize_arguments,
)
from proxies.functional import Operation, ReplaceOperations, with_stacked_tensors


def pack(primal: Tensor, tangent: Tensor) -> Tensor:
    """A dual number of the current level."""
    dual: Tensor = forward_ad.make_dual(primal, tangent)
    return dual


def unpack(dual: Tensor) -> tuple[Tensor, Tensor | None]:
    """Value and tangent of a dual number; no tangent if it does not depend on the input."""
    primal, tangent = forward_ad.unpack_dual(dual)
    return primal, tangent


def explicit_multi_head(*args: Any, **kwargs: Any) -> Any:
    """Multi-head attention that returns its map, which keeps it off the fused kernel."""
    return F.multi_head_attention_forward(*args, **(kwargs | {"need_weights": True}))


def _explicit_attention(*args: Any, **kwargs: Any) -> Tensor:
    return explicit_attention(normalize_arguments(*args, **kwargs))


def _dual_attention(*args: Any, **kwargs: Any) -> Tensor:
    call = normalize_arguments(*args, **kwargs)
    if call.bias is not None and unpack(call.bias)[1] is not None:
        return explicit_attention(call)
    return _attend_to_dual_tokens(call)


def _attend_to_dual_tokens(call: AttentionCall) -> Tensor:
    (q, dq), (k, dk), (v, dv) = (unpack(x) for x in call[:3])
    primal = call._replace(query=q, key=k, value=v)
    return pack(*attention_with_tangent(primal, (dq, dk, dv)))


def _dual_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return _apply_linear_map(F.linear, x, weight, bias)


def _dual_convolution(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, *args: Any, **kwargs: Any
) -> Tensor:
    def convolve(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return F.conv2d(x, weight, bias, *args, **kwargs)

    return _apply_linear_map(convolve, x, weight, bias)


def _apply_linear_map(
    apply: Callable[..., Tensor], x: Tensor, weight: Tensor, bias: Tensor | None
) -> Tensor:
    """A map that is linear in ``x``, on the value and, without bias, on the tangent."""
    primal, tangent = unpack(x)
    out = apply(primal, weight, bias)
    return out if tangent is None else pack(out, apply(tangent, weight, None))


class DualOperations(ReplaceOperations):
    """Inside, dual numbers (``torch.autograd.forward_ad``) pass fused attention.

    Linear maps get a leaner rule too: PyTorch's also multiplies by the weight's tangent, which is
    zero here.
    """

    replacements: ClassVar[Mapping[Operation, Operation]] = {
        F.scaled_dot_product_attention: _dual_attention,
        F.multi_head_attention_forward: explicit_multi_head,
        F.linear: _dual_linear,
        F.conv2d: _dual_convolution,
    }


class ExplicitAttention(ReplaceOperations):
    """Inside, fused attention is written out, for nested or vectorised transforms."""

    replacements: ClassVar[Mapping[Operation, Operation]] = {
        F.scaled_dot_product_attention: _explicit_attention,
        F.multi_head_attention_forward: explicit_multi_head,
    }


def _stacked_attention(*args: Any, **kwargs: Any) -> Tensor:
    def attend(networks: int, *values: Any) -> Tensor:
        call = AttentionCall(*values)
        if call.bias is not None:
            bias, tangent = unpack(align_stacked_bias(call.bias, call.query.ndim))
            if tangent is not None:
                raise ValueError("an attention bias that depends on the image cannot be stacked")
            call = call._replace(bias=bias)
        return _attend_to_dual_tokens(call)

    return with_stacked_tensors(attend, *normalize_arguments(*args, **kwargs))


def _stacked_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    def apply(networks: int, *tensors: Any) -> Tensor:
        return _apply_linear_map(_batched_linear, *tensors)

    return with_stacked_tensors(apply, x, weight, bias)


def _stacked_convolution(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, *args: Any, **kwargs: Any
) -> Tensor:
    def convolve(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        axes = (0, 0, None if bias is None else 0, *[None] * len(args))
        return vmap(partial(F.conv2d, **kwargs), in_dims=axes)(x, weight, bias, *args)

    def apply(networks: int, *tensors: Any) -> Tensor:
        return _apply_linear_map(convolve, *tensors)

    return with_stacked_tensors(apply, x, weight, bias)


def _batched_linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``x Wᵀ + b`` with ``x`` of ``[networks, ..., i]``, W ``[networks, o, i]``."""
    rows, turned = x.flatten(1, -2), weight.transpose(1, 2)
    out = rows.bmm(turned) if bias is None else torch.baddbmm(bias[:, None], rows, turned)
    product: Tensor = out.unflatten(1, x.shape[1:-1])
    return product


class StackedDualOperations(ReplaceOperations):
    """:class:`DualOperations` for :meth:`proxies.functional.Stack.run`."""

    replacements: ClassVar[Mapping[Operation, Operation]] = {
        F.scaled_dot_product_attention: _stacked_attention,
        F.multi_head_attention_forward: explicit_multi_head,
        F.linear: _stacked_linear,
        F.conv2d: _stacked_convolution,
    }

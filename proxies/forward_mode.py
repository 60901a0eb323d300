"""Forward-mode rules for the operations that PyTorch has none for, or a slow one."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor
from torch.autograd import forward_ad
from torch.overrides import TorchFunctionMode

from proxies.attention import attention_with_tangent, explicit_attention, plain_arguments

Rules = Mapping[Callable[..., Any], Callable[..., Any]]  # operation to what is called in its place


def pack(primal: Tensor, tangent: Tensor) -> Tensor:
    """A dual number of the current level."""
    dual: Tensor = forward_ad.make_dual(primal, tangent)
    return dual


def unpack(dual: Tensor) -> tuple[Tensor, Tensor | None]:
    """Value and tangent of a dual number; no tangent where nothing depends on the input."""
    primal, tangent = forward_ad.unpack_dual(dual)
    return primal, tangent


def explicit_multi_head(*args: Any, **kwargs: Any) -> Any:
    """``nn.MultiheadAttention`` calls the fused kernel unless it is asked for the map."""
    return F.multi_head_attention_forward(*args, **(kwargs | {"need_weights": True}))


class RuledOperations(TorchFunctionMode):
    """Inside, operations that have a rule follow it.

    Attributes:
        rules: The rules.
    """

    rules: ClassVar[Rules]

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        rule: Callable[..., Any] = self.rules.get(func, func)
        return rule(*args, **(kwargs or {}))


def _explicit_attention(*args: Any, **kwargs: Any) -> Tensor:
    tokens, bias, scale = plain_arguments(*args, **kwargs)
    return explicit_attention(*tokens, bias=bias, scale=scale)


def _dual_attention(*args: Any, **kwargs: Any) -> Tensor:
    tokens, bias, scale = plain_arguments(*args, **kwargs)
    if bias is not None and unpack(bias)[1] is not None:
        return explicit_attention(*tokens, bias=bias, scale=scale)
    (q, dq), (k, dk), (v, dv) = (unpack(x) for x in tokens)
    return pack(*attention_with_tangent(q, k, v, (dq, dk, dv), bias=bias, scale=scale))


def _dual_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    primal, tangent = unpack(x)
    if tangent is None:
        return F.linear(x, weight, bias)
    return pack(F.linear(primal, weight, bias), F.linear(tangent, weight))


def _dual_convolution(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, *args: Any, **kwargs: Any
) -> Tensor:
    primal, tangent = unpack(x)
    if tangent is None:
        return F.conv2d(x, weight, bias, *args, **kwargs)
    return pack(
        F.conv2d(primal, weight, bias, *args, **kwargs),
        F.conv2d(tangent, weight, None, *args, **kwargs),
    )


class DualOperations(RuledOperations):
    """Inside, dual numbers (``torch.autograd.forward_ad``) pass fused attention.

    Linear maps get a leaner rule too: PyTorch's own also multiplies by the weight's tangent, which
    is zero here.
    """

    rules: ClassVar[Rules] = {
        F.scaled_dot_product_attention: _dual_attention,
        F.multi_head_attention_forward: explicit_multi_head,
        F.linear: _dual_linear,
        F.conv2d: _dual_convolution,
    }


class ExplicitAttention(RuledOperations):
    """Inside, fused attention is spelt out, for transforms that nest or vectorise."""

    rules: ClassVar[Rules] = {
        F.scaled_dot_product_attention: _explicit_attention,
        F.multi_head_attention_forward: explicit_multi_head,
    }

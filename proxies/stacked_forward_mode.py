"""Forward-mode rules for the networks of a stack, all at once."""

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import vmap

from proxies.attention import aligned_bias, attention_with_tangent, plain_arguments
from proxies.forward_mode import RuledOperations, Rules, explicit_multi_head, pack, unpack
from proxies.stacking import lifted


def _attention(*args: Any, **kwargs: Any) -> Tensor:
    tokens, bias, scale = plain_arguments(*args, **kwargs)

    def attend(networks: int, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
        if bias is not None:
            bias, moving = unpack(aligned_bias(bias, q.ndim))
            if moving is not None:
                raise ValueError("an attention bias that depends on the image cannot be stacked")
        (q, dq), (k, dk), (v, dv) = (unpack(x) for x in (q, k, v))
        return pack(*attention_with_tangent(q, k, v, (dq, dk, dv), bias=bias, scale=scale))

    return lifted(attend, *tokens, bias)


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return lifted(partial(_linear_map, _batched_product), x, weight, bias)


def _convolution(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, *args: Any, **kwargs: Any
) -> Tensor:
    def convolve(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        each = vmap(partial(F.conv2d, **kwargs), in_dims=(0, 0, _axis(bias), *[None] * len(args)))
        return each(x, weight, bias, *args)

    return lifted(partial(_linear_map, convolve), x, weight, bias)


def _linear_map(
    apply: Callable[..., Tensor],
    networks: int,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
) -> Tensor:
    primal, tangent = unpack(x)
    out = apply(primal, weight, bias)
    return out if tangent is None else pack(out, apply(tangent, weight, None))


def _batched_product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``x Wᵀ + b`` with ``x`` of ``[networks, ..., i]``, W ``[networks, o, i]``."""
    rows, turned = x.flatten(1, -2), weight.transpose(1, 2)
    out = rows.bmm(turned) if bias is None else torch.baddbmm(bias[:, None], rows, turned)
    product: Tensor = out.unflatten(1, x.shape[1:-1])
    return product


class StackedDualOperations(RuledOperations):
    """:class:`proxies.forward_mode.DualOperations` for :meth:`proxies.stacking.Stack.run`.

    Dual numbers are hidden behind the vectorised tensors: each rule is lifted to where they are.
    """

    rules: ClassVar[Rules] = {
        F.scaled_dot_product_attention: _attention,
        F.multi_head_attention_forward: explicit_multi_head,
        F.linear: _linear,
        F.conv2d: _convolution,
    }


def _axis(tensor: Tensor | None) -> int | None:
    return None if tensor is None else 0

"""Fused attention as graphs have it: of four axes."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode


class FourAxes(TorchFunctionMode):
    """Traces fused attention of any number of axes as one of four, the only one ONNX has.

    Queries, keys and values ``[batch, ..., tokens, channels]``, as Hiera's of its windows, become
    ``[batch, heads, tokens, channels]``; the result is the same.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        call = _of_four_axes if func is F.scaled_dot_product_attention else func
        return call(*args, **(kwargs or {}))


def _of_four_axes(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    *args: Any,
    **options: Any,
) -> Tensor:
    if query.ndim in (2, 4):
        return F.scaled_dot_product_attention(query, key, value, attn_mask, *args, **options)
    if attn_mask is not None:
        attn_mask = _flat(attn_mask.expand(*query.shape[:-1], key.shape[-2]))
    parts = _flat(query), _flat(key), _flat(value)
    mixed = F.scaled_dot_product_attention(*parts, attn_mask, *args, **options)
    return mixed.reshape(*query.shape[:-1], value.shape[-1])


def _flat(x: Tensor) -> Tensor:
    """``[batch, ..., tokens, channels]`` with a single axis between the first and the last two."""
    return x.unsqueeze(1) if x.ndim == 3 else x.flatten(1, -3)

"""A depthwise convolution over attention maps, with one kernel per head."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor
from torch.nn import functional as F
from torch.overrides import handle_torch_function, has_torch_function

from proxies.per_sample_gradients import RULES, WeightUse, convolution_use


def convolve_maps(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``[B, heads, lists, h, w] -> [B, heads, lists, h, w]``, each grid padded with zeros.

    All grids of an image are channels of one depthwise convolution. With heads as channels and
    grids as batch, it would take ten times as long on a CPU, which works on 16 channels at a time.

    Args:
        x: A grid for each list of each head.
        weight: One kernel per head, ``[heads, 1, k, k]`` with an odd k.
        bias: ``[heads]``, or None.
    """
    if has_torch_function((x, weight)):  # seen as one operation by a mode that follows weights
        seen: Tensor = handle_torch_function(convolve_maps, (x, weight), x, weight, bias)
        return seen
    heads, lists = x.shape[1:3]
    kernels = weight[:, None].expand(-1, lists, -1, -1, -1).flatten(0, 1)
    offsets = None if bias is None else bias[:, None].expand(-1, lists).flatten()
    padding = (weight.shape[2] // 2, weight.shape[3] // 2)
    groups = heads * lists
    out = F.conv2d(x.flatten(1, 2), kernels, offsets, padding=padding, groups=groups)
    maps: Tensor = out.unflatten(1, (heads, lists))
    return maps


@dataclass(frozen=True)
class _MapUse(WeightUse):
    """:func:`convolve_maps` as a convolution of ``B * lists`` grids with heads as channels."""

    inner: WeightUse

    def gradient(self, grads: Tensor, rows: slice, samples: int) -> Tensor:
        """See :class:`proxies.per_sample_gradients.WeightUse`."""
        return self.inner.gradient(_grids_first(grads), rows, samples)


def _map_use(x: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, WeightUse] | None:
    padding = (weight.shape[2] // 2, weight.shape[3] // 2)
    found = convolution_use(_grids_first(x), weight, padding=padding, groups=x.shape[1])
    if found is None:
        return None
    inner = found[1]
    return weight, _MapUse(inner.x, inner.granularity, inner)


def _grids_first(x: Tensor) -> Tensor:
    """``[B, heads, lists, h, w] -> [B * lists, heads, h, w]``."""
    return x.transpose(1, 2).flatten(0, 1)


cast("dict[Callable[..., Tensor], Any]", RULES)[convolve_maps] = _map_use

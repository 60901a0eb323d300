"""Per-sample weight gradients from one batched forward and backward pass.

The gradient of a weight for one sample follows from the input of the operation that used it and
the gradient of that operation's output. Such a pair is kept for each use of a weight until the
backward pass reaches it; only n × n products outlive it.
"""

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

# Elements of per-sample gradients held at a time: 16 MB in float32.
_BLOCK_ELEMENTS = 1 << 22


@dataclass(frozen=True)
class WeightUse:
    """One use of a weight in a forward pass.

    Args:
        x: Input of the operation, ``[m, ...]``; m is n, or a multiple of n if samples were split
            into consecutive parts.
        gradient: Maps the output's gradient, some rows of the weight, and n to the per-sample
            gradient of these rows, ``[n, elements]``.
        granularity: Rows of the weight are taken in multiples of this.
    """

    x: Tensor
    gradient: Callable[[Tensor, slice, int], Tensor]
    granularity: int = 1


def gram_matrix(
    weight: Tensor, uses: Sequence[tuple[WeightUse, Tensor]], samples: int, *networks: int
) -> Tensor:
    """Inner products of a weight's per-sample gradients over all uses, ``[n, n]`` float64.

    The rows of the weight are taken in blocks to bound the memory. Uses may have the samples of
    several networks in sequence, for a result ``[networks, n, n]``.
    """
    shape = *networks, samples
    gram = torch.zeros(*shape, samples, dtype=torch.float64, device=weight.device)
    for rows in _row_blocks(weight, math.prod(shape), uses[0][0].granularity):
        first, *others = (use.gradient(grads, rows, math.prod(shape)) for use, grads in uses)
        gradients = sum(others, start=first).unflatten(0, shape)
        gram += gradients @ gradients.mT
    return gram


def linear_use(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> tuple[Tensor, WeightUse]:
    """Weight and use of a call to ``F.linear``: ``x Wᵀ`` with ``x`` of ``[n, ..., i]``."""

    def gradient(grads: Tensor, rows: slice, samples: int) -> Tensor:
        d = grads.reshape(samples, -1, grads.shape[-1])[..., rows]
        return torch.bmm(d.transpose(1, 2), x.reshape(samples, -1, x.shape[-1])).flatten(1)

    return weight, WeightUse(x, gradient)


def convolution_use(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> tuple[Tensor, WeightUse] | None:
    """Weight and use of a call to ``F.conv2d``; None if ``x`` has no batch axis.

    The gradient is computed on the patches of ``x``. The granularity is the number of output
    channels of a group.
    """
    if x.ndim != 4:
        return None
    kernel, stride, dilation = weight.shape[2:], _pair(stride), _pair(dilation)
    if padding == "same":
        spread = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        x = F.pad(x, [p for s in reversed(spread) for p in (s // 2, s - s // 2)])
    padding = (0, 0) if isinstance(padding, str) else _pair(padding)
    inputs, outputs = x.shape[1] // groups, len(weight) // groups

    def gradient(grads: Tensor, rows: slice, samples: int) -> Tensor:
        first, last = rows.start // outputs, rows.stop // outputs
        own = x[:, first * inputs : last * inputs]
        if kernel == (1, 1) and padding == (0, 0):
            patches = own[..., :: stride[0], :: stride[1]].flatten(2)
        else:
            patches = F.unfold(own, kernel, dilation, padding, stride)
        maps = len(x) * (last - first)
        patches = patches.reshape(maps, -1, patches.shape[-1])
        d = grads[:, rows].reshape(maps, outputs, -1)
        return _per_sample(torch.bmm(d, patches.transpose(1, 2)).reshape(len(x), -1), samples)

    return weight, WeightUse(x, gradient, outputs)


def norm_gain_use(x: Tensor, normalised: Callable[[], Tensor], channel: int) -> WeightUse:
    """Use of a gain of a norm of ``x``, which scales an axis of the normalised input."""

    def gradient(grads: Tensor, rows: slice, samples: int) -> Tensor:
        product = (grads * normalised()).movedim(channel, 1)
        summed = product.flatten(2).sum(2) if product.ndim > 2 else product
        return _per_sample(summed[:, rows], samples)

    return WeightUse(x, gradient)


_signature = cache(inspect.signature)


def norm_use(
    norm: Callable[..., Tensor], channel: int, *args: Any, **kwargs: Any
) -> tuple[Tensor, WeightUse] | None:
    """Gain and use of a call to ``norm``, whose gain scales the axis ``channel``.

    None if there is no gain, or it has several axes; a ValueError if the norm uses batch
    statistics.
    """
    call = _signature(norm).bind(*args, **kwargs).arguments
    if call.get("training"):
        raise ValueError("a batch norm without running statistics lets samples interact")
    weight = call.get("weight")
    if weight is None or weight.ndim != 1:
        return None
    plain = {name: value for name, value in call.items() if name not in ("weight", "bias")}
    return weight, norm_gain_use(call["input"], lambda: norm(**plain), channel)


RULES: dict[Callable[..., Tensor], Callable[..., tuple[Tensor, WeightUse] | None]] = {
    F.linear: linear_use,
    F.conv2d: convolution_use,
    F.layer_norm: partial(norm_use, F.layer_norm, -1),
    F.rms_norm: partial(norm_use, F.rms_norm, -1),
    F.group_norm: partial(norm_use, F.group_norm, 1),
    F.batch_norm: partial(norm_use, F.batch_norm, 1),
}
"""Maps each supported operation to a function of its arguments: the weight and its use."""


def _per_sample(parts: Tensor, samples: int) -> Tensor:
    """Sum the parts of each sample: ``[m, elements]`` to ``[n, elements]``."""
    return parts if len(parts) == samples else parts.unflatten(0, (samples, -1)).sum(1)


def _row_blocks(weight: Tensor, samples: int, granularity: int) -> Iterator[slice]:
    elements = samples * granularity * math.prod(weight.shape[1:])
    step = granularity * max(1, _BLOCK_ELEMENTS // elements)
    for start in range(0, len(weight), step):
        yield slice(start, min(start + step, len(weight)))


def _pair(value: int | Sequence[int]) -> tuple[int, int]:
    if isinstance(value, int):
        return value, value
    first, second = tuple(value) * (2 if len(value) == 1 else 1)
    return first, second

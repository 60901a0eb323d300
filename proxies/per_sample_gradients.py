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
        granularity: Rows of the weight are taken in multiples of this.
    """

    x: Tensor
    granularity: int

    def gradient(self, grads: Tensor, rows: slice, samples: int) -> Tensor:
        """Per-sample gradient ``[n, elements]`` of some rows, given the output's gradient."""
        raise NotImplementedError


def gram_matrix(
    weight: Tensor, uses: Sequence[tuple[WeightUse, Tensor]], samples: int, *networks: int
) -> Tensor:
    """Inner products of a weight's per-sample gradients, ``[n, n]`` float64.

    Args:
        weight: The weight of one network; its rows are taken in blocks to bound the memory.
        uses: Every use of the weight, with the gradient of its output; the samples of several
            networks in sequence.
        samples: Number n of samples of one network.
        networks: Number of networks, for a result ``[networks, n, n]``.
    """
    shape = *networks, samples
    gram = torch.zeros(*shape, samples, dtype=torch.float64, device=weight.device)
    for rows in _row_blocks(weight, math.prod(shape), uses[0][0].granularity):
        first, *others = (use.gradient(grads, rows, math.prod(shape)) for use, grads in uses)
        gradients = sum(others, start=first).unflatten(0, shape)
        gram += gradients @ gradients.mT
    return gram


@dataclass(frozen=True)
class LinearUse(WeightUse):
    """``x Wᵀ`` with ``x`` of ``[n, ..., i]`` and W ``[o, i]``."""

    def gradient(self, grads: Tensor, rows: slice, samples: int) -> Tensor:
        """See :class:`WeightUse`."""
        x = self.x.reshape(samples, -1, self.x.shape[-1])
        d = grads.reshape(samples, -1, grads.shape[-1])[..., rows]
        return torch.bmm(d.transpose(1, 2), x).flatten(1)


@dataclass(frozen=True)
class ConvolutionUse(WeightUse):
    """A two-dimensional convolution of ``x`` ``[n, C, H, W]``, computed on its patches.

    The granularity is the number of output channels of a group.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int

    def gradient(self, grads: Tensor, rows: slice, samples: int) -> Tensor:
        """See :class:`WeightUse`."""
        inputs = self.x.shape[1] // self.groups
        groups = slice(rows.start // self.granularity, rows.stop // self.granularity)
        x = self.x[:, groups.start * inputs : groups.stop * inputs]
        if self.kernel == (1, 1) and self.padding == (0, 0):
            patches = x[..., :: self.stride[0], :: self.stride[1]].flatten(2)
        else:
            patches = F.unfold(x, self.kernel, self.dilation, self.padding, self.stride)
        count = groups.stop - groups.start
        patches = patches.reshape(len(x) * count, -1, patches.shape[-1])
        d = grads[:, rows].reshape(len(x) * count, self.granularity, -1)
        return _per_sample(torch.bmm(d, patches.transpose(1, 2)).reshape(len(x), -1), samples)


@dataclass(frozen=True)
class NormGainUse(WeightUse):
    """The gain of a norm: output gradient times normalised input, summed over positions."""

    normalised: Callable[[], Tensor]
    channel: int
    """Axis that the gain scales."""

    def gradient(self, grads: Tensor, rows: slice, samples: int) -> Tensor:
        """See :class:`WeightUse`."""
        product = (grads * self.normalised()).movedim(self.channel, 1)
        summed = product.flatten(2).sum(2) if product.ndim > 2 else product
        return _per_sample(summed[:, rows], samples)


def linear_use(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> tuple[Tensor, WeightUse]:
    """Weight and use of a call to ``F.linear``, with its arguments."""
    return weight, LinearUse(x, 1)


def convolution_use(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> tuple[Tensor, WeightUse] | None:
    """Weight and use of a call to ``F.conv2d``; None if ``x`` has no batch axis."""
    if x.ndim != 4:
        return None
    kernel, dilation = (weight.shape[2], weight.shape[3]), _pair(dilation)
    if padding == "same":
        spread = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        x = F.pad(x, [p for s in reversed(spread) for p in (s // 2, s - s // 2)])
    padding = (0, 0) if isinstance(padding, str) else _pair(padding)
    use = ConvolutionUse(
        x, len(weight) // groups, kernel, _pair(stride), padding, dilation, groups
    )
    return weight, use


_signature = cache(inspect.signature)


def norm_use(
    norm: Callable[..., Tensor], channel: int, *args: Any, **kwargs: Any
) -> tuple[Tensor, WeightUse] | None:
    """Gain and use of a call to a norm; None if there is no gain, or it has several axes.

    Args:
        norm: A function of :mod:`torch.nn.functional`.
        channel: Axis that the gain scales.
        args: Arguments of the call.
        kwargs: Likewise.

    Raises:
        ValueError: If it normalises by batch statistics.
    """
    call = _signature(norm).bind(*args, **kwargs).arguments
    if call.get("training"):
        raise ValueError("a batch norm without running statistics lets samples interact")
    weight = call.get("weight")
    if weight is None or weight.ndim != 1:
        return None
    plain = {name: value for name, value in call.items() if name not in ("weight", "bias")}
    return weight, NormGainUse(call["input"], 1, lambda: norm(**plain), channel)


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

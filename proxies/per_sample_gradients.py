"""Per-sample weight gradients and their Gram matrices, from one batched forward and backward pass.

The gradient of a weight for one sample follows from the input of the operation that used it and
the gradient of that operation's output. Such a pair is kept for each use of a weight until the
backward pass reaches it; only n × n products outlive it.
"""

import inspect
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from proxies.forward_mode import explicit_multi_head, normalize_arguments
from proxies.functional import InterceptOperations, Operation

# Elements of per-sample gradients held at a time: 16 MB in float32.
_BLOCK_ELEMENTS = 1 << 22


@dataclass(frozen=True)
class WeightUse:
    """One use of a weight in a forward pass."""

    # Input of the operation, ``[m, ...]``; m is n, or a multiple of n if samples were split into
    # consecutive parts.
    x: Tensor
    # Maps the output's gradient, some rows of the weight, and n to the per-sample gradient of
    # these rows, ``[n, elements]``.
    gradient: Callable[[Tensor, slice, int], Tensor]
    granularity: int = 1  # rows of the weight are taken in multiples of this


def gram_matrix(weight: Tensor, uses: Sequence[tuple[WeightUse, Tensor]], samples: int) -> Tensor:
    """Inner products of a weight's per-sample gradients over all uses, ``[n, n]``, in float64.

    The rows of the weight are taken in blocks to bound the memory.
    """

    def gram_of(rows: slice) -> Tensor:
        first, *others = (use.gradient(grads, rows, samples) for use, grads in uses)
        gradients: Tensor = sum(others, start=first)
        return (gradients @ gradients.T).double()

    first, *others = map(gram_of, _row_blocks(weight, samples, uses[0][0].granularity))
    return sum(others, start=first)


def linear_use(
    input: Tensor, weight: Tensor, bias: Tensor | None = None
) -> tuple[Tensor, WeightUse]:
    """Weight and use of a call to ``F.linear``: ``x Wᵀ`` with ``x`` of ``[n, ..., i]``."""

    def gradient(grads: Tensor, rows: slice, samples: int) -> Tensor:
        d = grads.reshape(samples, -1, grads.shape[-1])[..., rows]
        x = input.reshape(samples, -1, input.shape[-1])
        return torch.bmm(d.transpose(1, 2), x).flatten(1)

    return weight, WeightUse(input, gradient)


def convolution_use(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> tuple[Tensor, WeightUse] | None:
    """Weight and use of a call to ``F.conv2d``; None if the input has no batch axis."""
    x = input
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


def norm_use(
    norm: Callable[..., Tensor], channel: int, *args: Any, **kwargs: Any
) -> tuple[Tensor, WeightUse] | None:
    """Gain, of the axis ``channel``, and use of a call to ``norm``; None if it has none."""
    call = _signature(norm).bind(*args, **kwargs).arguments
    if call.get("training"):
        raise ValueError("a batch norm without running statistics lets samples interact")
    weight = call.get("weight")
    if weight is None or weight.ndim != 1:
        return None
    plain = {name: value for name, value in call.items() if name not in ("weight", "bias")}

    def gradient(grads: Tensor, rows: slice, samples: int) -> Tensor:
        product = (grads * norm(**plain)).movedim(channel, 1)
        summed = product.flatten(2).sum(2) if product.ndim > 2 else product
        return _per_sample(summed[:, rows], samples)

    return weight, WeightUse(call["input"], gradient)


_signature = cache(inspect.signature)

NORMS = (F.layer_norm, F.rms_norm, F.group_norm, F.batch_norm)

#: Maps each supported operation to a function of its arguments: the weight and its use.
RULES: dict[Callable[..., Tensor], Callable[..., tuple[Tensor, WeightUse] | None]] = {
    F.linear: linear_use,
    F.conv2d: convolution_use,
    F.layer_norm: partial(norm_use, F.layer_norm, -1),
    F.rms_norm: partial(norm_use, F.rms_norm, -1),
    F.group_norm: partial(norm_use, F.group_norm, 1),
    F.batch_norm: partial(norm_use, F.batch_norm, 1),
}


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


class GramAccumulator(InterceptOperations):
    """Record every use of a weight; form its Gram matrix when the backward pass has reached it.

    A weight is detached where an operation with a rule uses it: autograd then forms no weight
    gradient itself, and shows which weights have a gradient that no rule forms.
    """

    def __init__(self, weights: Mapping[str, Tensor], images: Tensor) -> None:
        super().__init__()
        self._weights, self._samples = weights, len(images)
        self._names = {id(weight): name for name, weight in weights.items()}
        self._expected: dict[str, int] = defaultdict(int)
        self._arrived: dict[str, list[tuple[WeightUse, Tensor]]] = defaultdict(list)
        #: Weight name and first axis of the input, for each use in order.
        self.lengths: list[tuple[str, int]] = []
        #: Inputs whose first axis is not n, by index of the use.
        self.folded: dict[int, Tensor] = {}
        #: Weight name -> inner products of its per-sample gradients, after the backward pass.
        self.grams: dict[str, Tensor] = {}
        #: Added to an output, it makes the backward pass reach the weight although nothing before
        #: it requires a gradient.
        self.seed = images.new_zeros((), requires_grad=True)

    def intercept(self, func: Operation, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Record the call if it uses a weight, and run it with the weight detached."""
        if func is F.scaled_dot_product_attention:
            q, k, v, bias, scale = normalize_arguments(*args, **kwargs)
            return func(q, k, v, bias, scale=scale)
        if func is F.multi_head_attention_forward:
            return explicit_multi_head(*args, **kwargs)
        weight_use = RULES[func](*args, **kwargs) if func in RULES else None
        if weight_use is None or id(weight_use[0]) not in self._names:
            return func(*args, **kwargs)
        weight, use = weight_use

        def detached(value: Any) -> Any:
            return value.detach() if value is weight else value

        out = func(*map(detached, args), **{key: detached(x) for key, x in kwargs.items()})
        return self._record(self._names[id(weight)], use, out)

    def finish(self) -> None:
        """Finish weights that have uses without a gradient, because no output depends on them."""
        for name in list(self._arrived):
            self._finish_weight(name)

    def _record(self, name: str, use: WeightUse, out: Tensor) -> Tensor:
        """Record a use of a weight; returns the output, hooked to receive its gradient."""
        if len(use.x) != self._samples:
            # Detached: the graph's hooks refer to this object, and the cycle would never be freed.
            self.folded[len(self.lengths)] = use.x.detach()
        self.lengths.append((name, len(use.x)))
        if not torch.is_grad_enabled():
            return out
        out = out if out.requires_grad else out + self.seed
        # A later in-place operation would drop a view, with its hook, from the graph.
        out = out if out._base is None else out.clone()
        self._expected[name] += 1

        def arrive(grads: Tensor) -> None:
            uses = self._arrived[name]
            uses.append((use, grads))
            if len(uses) == self._expected[name]:
                self._finish_weight(name)

        out.register_hook(arrive)
        return out

    def _finish_weight(self, name: str) -> None:
        uses = self._arrived.pop(name)
        if all(len(use.x) % self._samples == 0 for use, _ in uses):
            self.grams[name] = gram_matrix(self._weights[name], uses, self._samples)

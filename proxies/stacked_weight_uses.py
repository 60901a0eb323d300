"""Weight uses of several networks at once."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from proxies.attention import aligned_bias, attention
from proxies.forward_mode import explicit_multi_head
from proxies.sample_gradients import USES, GainUse, Use, gram_matrices
from proxies.stacking import Stack, lifted
from proxies.weight_uses import WeightUses


class StackedWeightUses(WeightUses):
    """Follow the weights of all networks of a stack at once; for the rest as its base.

    Args:
        stack: The networks.
        weights: Those to follow, by name, ``[networks, ...]``.
        images: What every network is shown.
    """

    def __init__(self, stack: Stack, weights: Mapping[str, Tensor], images: Tensor) -> None:
        super().__init__(weights, images)
        self.networks = len(stack.models)
        self._places = {
            place: self._names[id(tensor)]
            for place, tensor in stack.tensors.items()
            if id(tensor) in self._names
        }

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is F.multi_head_attention_forward:
            return explicit_multi_head(*args, **(kwargs or {}))
        return super().__torch_function__(func, types, args, kwargs)

    def see(self, tensors: Mapping[str, Tensor]) -> None:
        """Take the vectorised tensors for the weights, which is what is found in the calls."""
        self._names = {id(tensors[place]): name for place, name in self._places.items()}

    def finish(self) -> None:
        """Check that every use had its gradient.

        Raises:
            ValueError: If not. Nothing may come of the use, or its gradient was lost on the way
                through vmap; looked at one by one, networks tell.
        """
        missing = [name for name in self._expected if name not in self._finished]
        if missing:
            raise ValueError(f"no gradient came back to {missing[0]} of the stacked networks")

    def _frozen(self, value: Any) -> Any:
        return value.detach() if id(value) in self._names else value

    def _attend(
        self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, scale: float | None
    ) -> Tensor:
        def attend(networks: int, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
            return stacked_attention(q, k, v, bias, scale)

        return lifted(attend, q, k, v, bias)

    def _seen(
        self,
        name: str,
        use: Use,
        out: Tensor,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> Tensor:
        if not torch.is_grad_enabled() and len(use.x) == self._samples:
            # Only lengths are asked for, and this one is known without the tensors behind.
            self.lengths.append((name, self._samples))
            return out

        def take(networks: int, out: Tensor, *values: Any) -> Tensor:
            named = dict(zip(kwargs, values[len(args) :], strict=True))
            # What works in place on a view later on would take the view, with its hook, out of
            # the graph.
            out = out if out._base is None else out.clone()
            return self._take(name, _stacked_use(func, *values[: len(args)], **named), out)

        return lifted(take, out, *args, *kwargs.values())

    def _rows(self, grads: Tensor) -> Tensor:
        return grads.flatten(0, 1)

    def _gram(self, weight: Tensor, uses: Sequence[tuple[Use, Tensor]]) -> Tensor:
        return gram_matrices(weight[0], uses, self._samples, self.networks)


def stacked_attention(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, scale: float | None
) -> Tensor:
    """Attention of several networks, ``[networks, ..., N, d]``, for a backward pass.

    Fused kernels take four axes: the networks are more samples, or, where all samples share a
    bias, more heads.
    """
    if bias is not None:
        bias = aligned_bias(bias, q.ndim)
    if q.ndim != 5:
        return attention(q, k, v, bias=bias, scale=scale)
    axis = 1 if bias is None or bias.shape[1] != 1 else 2
    sizes = q.shape[0], q.shape[axis]
    if bias is not None:
        each = [-1] * bias.ndim
        each[axis] = sizes[1]
        bias = bias.expand(each).movedim(0, axis - 1).flatten(axis - 1, axis)
    flat = [x.movedim(0, axis - 1).flatten(axis - 1, axis) for x in (q, k, v)]
    out: Tensor = attention(*flat, bias=bias, scale=scale).unflatten(axis - 1, sizes)
    return out.movedim(axis - 1, 0)


def _stacked_use(func: Callable[..., Any], x: Tensor, *args: Any, **kwargs: Any) -> Use:
    """What several networks do with a weight, as a use by one network of more samples.

    Args:
        func: The operation.
        x: What the weight is applied to, ``[networks, m, ...]``.
        args: What else the operation is called with, tensors as ``[networks, ...]``.
        kwargs: Likewise.
    """
    if func is F.batch_norm:
        return _stacked_batch_norm(x, *args, **kwargs)
    rest = [_first(value) for value in args]
    named = {key: _first(value) for key, value in kwargs.items()}
    found = USES[func](x.flatten(0, 1), *rest, **named)
    if found is None:
        raise ValueError(f"{func.__name__} is used otherwise once networks are stacked")
    return found[1]


def _stacked_batch_norm(
    x: Tensor, running_mean: Tensor, running_var: Tensor, *args: Any, eps: float = 1e-5, **_: Any
) -> Use:
    """Statistics are not the weight's: each network normalises by its own."""
    eps = args[4] if len(args) > 4 else eps

    def normalised() -> Tensor:
        channels = x.transpose(0, 1).flatten(1, 2)  # [m, networks * C, ...]
        out = F.batch_norm(channels, running_mean.flatten(), running_var.flatten(), eps=eps)
        rows: Tensor = out.unflatten(1, running_mean.shape).transpose(0, 1).flatten(0, 1)
        return rows

    return GainUse(x.flatten(0, 1), normalised, 1)


def _first(value: Any) -> Any:
    """Of a stacked tensor the first network's; only shapes are looked at."""
    return value[0] if isinstance(value, Tensor) else value

"""Gram matrices of per-sample weight gradients, formed during one forward and backward pass.

:class:`GramAccumulator` follows the weights of one network, :class:`StackedGramAccumulator` those
of several networks at once.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from proxies.attention import (
    AttentionCall,
    align_stacked_bias,
    attention,
    normalize_arguments,
)
from proxies.forward_mode import explicit_multi_head
from proxies.functional import InterceptOperations, Operation
from proxies.per_sample_gradients import RULES, WeightUse, gram_matrix, norm_gain_use
from proxies.stacking import Stack, with_stacked_tensors

Call = tuple[Operation, tuple[Any, ...], Mapping[str, Any]]


class GramAccumulator(InterceptOperations):
    """Record every use of a weight; form its Gram matrix when the backward pass has reached it.

    Weights used by an operation with a rule are detached: autograd then propagates the gradients
    of activations only, and forms no weight gradient itself.

    Attributes:
        lengths: Weight name and first axis of the input, for each use in order.
        folded: Inputs whose first axis is not n, by index of the use: ``[networks, m, ...]``.
        grams: Inner products of the per-sample gradients of each weight, after the backward pass.
        seed: A zero that requires a gradient. Added to an output, it makes the backward pass
            reach the weight although nothing before it requires a gradient.
    """

    networks = 1

    def __init__(self, weights: Mapping[str, Tensor], images: Tensor) -> None:
        super().__init__()
        self._weights = weights
        self._names = {id(weight): name for name, weight in weights.items()}
        self._samples = len(images)
        self._expected: dict[str, int] = defaultdict(int)
        self._arrived: dict[str, list[tuple[WeightUse, Tensor]]] = defaultdict(list)
        self._finished: set[str] = set()
        self.lengths: list[tuple[str, int]] = []
        self.folded: dict[int, Tensor] = {}
        self.grams: dict[str, Tensor] = {}
        self.seed = images.new_zeros((), requires_grad=True)

    def intercept(self, func: Operation, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Record the call if it uses a weight, and run it with the weight detached."""
        if func is F.scaled_dot_product_attention:
            return self._attend(normalize_arguments(*args, **kwargs))
        if func not in RULES:
            return func(*args, **kwargs)
        found = RULES[func](*args, **kwargs)
        if found is None or id(found[0]) not in self._names:
            return func(*args, **kwargs)
        weight, use = found
        detached = [self._detached(value) for value in args]
        out = func(*detached, **{key: self._detached(value) for key, value in kwargs.items()})
        return self._record_call(self._names[id(weight)], use, out, (func, args, kwargs))

    def finish(self) -> None:
        """Finish weights that have uses without a gradient, because no output depends on them."""
        for name in list(self._arrived):
            self._finish_weight(name)

    def _detached(self, value: Any) -> Any:
        return value.detach() if isinstance(value, nn.Parameter) else value

    def _attend(self, call: AttentionCall) -> Tensor:
        return attention(call)

    def _record_call(self, name: str, use: WeightUse, out: Tensor, call: Call) -> Tensor:
        return self._record(name, use, out)

    def _record(self, name: str, use: WeightUse, out: Tensor) -> Tensor:
        """Record a use of a weight; returns the output, hooked to receive its gradient."""
        length = len(use.x) // self.networks
        if length != self._samples:
            # Detached: the graph's hooks refer to this object, and the cycle would never be freed.
            self.folded[len(self.lengths)] = use.x.detach().unflatten(0, (self.networks, length))
        self.lengths.append((name, length))
        if torch.is_grad_enabled():
            if not out.requires_grad:
                out = out + self.seed
            self._await_gradient(name, use, out)
        return out

    def _await_gradient(self, name: str, use: WeightUse, out: Tensor) -> None:
        self._expected[name] += 1

        def arrive(grads: Tensor) -> None:
            uses = self._arrived[name]
            uses.append((use, self._rows(grads)))
            if len(uses) == self._expected[name]:
                self._finish_weight(name)

        out.register_hook(arrive)

    def _finish_weight(self, name: str) -> None:
        uses = self._arrived.pop(name)
        self._finished.add(name)
        if all(len(use.x) % (self._samples * self.networks) == 0 for use, _ in uses):
            self.grams[name] = self._gram(self._weights[name], uses)

    def _rows(self, grads: Tensor) -> Tensor:
        """The gradient of an output, with the rows of its input."""
        return grads

    def _gram(self, weight: Tensor, uses: Sequence[tuple[WeightUse, Tensor]]) -> Tensor:
        return gram_matrix(weight, uses, self._samples)


class StackedGramAccumulator(GramAccumulator):
    """:class:`GramAccumulator` for all networks of a stack, with weights ``[networks, ...]``."""

    def __init__(self, stack: Stack, weights: Mapping[str, Tensor], images: Tensor) -> None:
        super().__init__(weights, images)
        self.networks = len(stack.models)
        self._slots = {
            slot: self._names[id(tensor)]
            for slot, tensor in stack.tensors.items()
            if id(tensor) in self._names
        }

    def intercept(self, func: Operation, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """As the base class, with multi-head attention kept off the fused kernel."""
        if func is F.multi_head_attention_forward:
            return explicit_multi_head(*args, **kwargs)
        return super().intercept(func, args, kwargs)

    def use_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Look for these vectorised tensors, by slot, in the calls instead of the weights."""
        self._names = {id(tensors[slot]): name for slot, name in self._slots.items()}

    def finish(self) -> None:
        """Raise a ValueError if a use received no gradient.

        Either no output depends on it, or vmap lost it; measuring the networks one by one tells.
        """
        missing = [name for name in self._expected if name not in self._finished]
        if missing:
            raise ValueError(f"no gradient came back to {missing[0]} of the stacked networks")

    def _detached(self, value: Any) -> Any:
        return value.detach() if id(value) in self._names else value

    def _attend(self, call: AttentionCall) -> Tensor:
        def attend(networks: int, *values: Any) -> Tensor:
            return stacked_attention(AttentionCall(*values))

        return with_stacked_tensors(attend, *call)

    def _record_call(self, name: str, use: WeightUse, out: Tensor, call: Call) -> Tensor:
        if not torch.is_grad_enabled() and len(use.x) == self._samples:
            # Only the length is needed, and it is known without the stacked tensors.
            self.lengths.append((name, self._samples))
            return out

        func, args, kwargs = call

        def record(networks: int, out: Tensor, *values: Any) -> Tensor:
            named = dict(zip(kwargs, values[len(args) :], strict=True))
            # A later in-place operation would drop a view, with its hook, from the graph.
            out = out if out._base is None else out.clone()
            return self._record(name, _stacked_use(func, *values[: len(args)], **named), out)

        return with_stacked_tensors(record, out, *args, *kwargs.values())

    def _rows(self, grads: Tensor) -> Tensor:
        return grads.flatten(0, 1)

    def _gram(self, weight: Tensor, uses: Sequence[tuple[WeightUse, Tensor]]) -> Tensor:
        return gram_matrix(weight[0], uses, self._samples, self.networks)


def stacked_attention(call: AttentionCall) -> Tensor:
    """Attention of several networks, ``[networks, ..., N, d]``, for a backward pass.

    Fused kernels take four axes, so the networks join the samples or, if all samples share a bias,
    the heads.
    """
    q, k, v, bias, scale = call
    if bias is not None:
        bias = align_stacked_bias(bias, q.ndim)
    if q.ndim != 5:
        return attention(call._replace(bias=bias))
    axis = 1 if bias is None or bias.shape[1] != 1 else 2
    sizes = q.shape[0], q.shape[axis]
    if bias is not None:
        expanded = [-1] * bias.ndim
        expanded[axis] = sizes[1]
        bias = bias.expand(expanded).movedim(0, axis - 1).flatten(axis - 1, axis)
    flat = [x.movedim(0, axis - 1).flatten(axis - 1, axis) for x in (q, k, v)]
    out: Tensor = attention(AttentionCall(*flat, bias, scale)).unflatten(axis - 1, sizes)
    return out.movedim(axis - 1, 0)


def _stacked_use(func: Callable[..., Any], x: Tensor, *args: Any, **kwargs: Any) -> WeightUse:
    """The use of a weight by several networks, as the use by one network with more samples.

    The input of the operation is ``[networks, m, ...]``, its other tensors ``[networks, ...]``.
    """
    if func is F.batch_norm:
        return _stacked_batch_norm_use(x, *args, **kwargs)
    # Of the other tensors only the shape is used.
    rest = [value[0] if isinstance(value, Tensor) else value for value in args]
    named = {k: value[0] if isinstance(value, Tensor) else value for k, value in kwargs.items()}
    found = RULES[func](x.flatten(0, 1), *rest, **named)
    if found is None:
        raise ValueError(f"{func.__name__} has no per-sample rule for stacked networks")
    return found[1]


def _stacked_batch_norm_use(
    x: Tensor, running_mean: Tensor, running_var: Tensor, *args: Any, eps: float = 1e-5, **_: Any
) -> WeightUse:
    """Each network normalises by its own statistics."""
    eps = args[4] if len(args) > 4 else eps

    def normalised() -> Tensor:
        channels = x.transpose(0, 1).flatten(1, 2)  # [m, networks * C, ...]
        out = F.batch_norm(channels, running_mean.flatten(), running_var.flatten(), eps=eps)
        rows: Tensor = out.unflatten(1, running_mean.shape).transpose(0, 1).flatten(0, 1)
        return rows

    return norm_gain_use(x.flatten(0, 1), normalised, 1)

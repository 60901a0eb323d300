"""Follows the weights of a network through a forward pass and the way back."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from proxies.attention import attention, plain_arguments
from proxies.sample_gradients import USES, Use, gram_matrix


class WeightUses(TorchFunctionMode):
    """Follow every use of a weight; add up Gram matrices as the backward pass reaches them.

    Weights that an operation with a rule uses are cut from the graph: autograd then carries the
    gradient of the activations only, and forms no weight gradient of its own.

    Args:
        weights: Those to follow, by name.
        images: What the network is shown.

    Attributes:
        lengths: Weight of each use, in order, and the first axis of what it was applied to.
        folded: Number of a use -> what its weight was applied to, ``[networks, m, ...]``, where
            the first axis is not the samples.
        grams: Weight -> inner products of its per-sample gradients, after the backward pass.
        seed: Needs a gradient, and with it whatever follows from a weight that is followed.
    """

    networks = 1

    def __init__(self, weights: Mapping[str, Tensor], images: Tensor) -> None:
        super().__init__()
        self._weights = weights
        self._names = {id(weight): name for name, weight in weights.items()}
        self._samples = len(images)
        self._expected: dict[str, int] = defaultdict(int)
        self._arrived: dict[str, list[tuple[Use, Tensor]]] = defaultdict(list)
        self._finished: set[str] = set()
        self.lengths: list[tuple[str, int]] = []
        self.folded: dict[int, Tensor] = {}
        self.grams: dict[str, Tensor] = {}
        self.seed = images.new_zeros((), requires_grad=True)

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            tokens, bias, scale = plain_arguments(*args, **kwargs)
            return self._attend(*tokens, bias, scale)
        if func not in USES:
            return func(*args, **kwargs)
        found = USES[func](*args, **kwargs)
        if found is None or id(found[0]) not in self._names:
            return func(*args, **kwargs)
        weight, use = found
        frozen = [self._frozen(value) for value in args]
        out = func(*frozen, **{key: self._frozen(value) for key, value in kwargs.items()})
        return self._seen(self._names[id(weight)], use, out, func, args, kwargs)

    def finish(self) -> None:
        """Add up weights some of whose uses have no gradient, because nothing comes of them."""
        for name in list(self._arrived):
            self._finish(name)

    def _frozen(self, value: Any) -> Any:
        return value.detach() if isinstance(value, nn.Parameter) else value

    def _attend(
        self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, scale: float | None
    ) -> Tensor:
        return attention(q, k, v, bias=bias, scale=scale)

    def _seen(
        self,
        name: str,
        use: Use,
        out: Tensor,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> Tensor:
        return self._take(name, use, out)

    def _take(self, name: str, use: Use, out: Tensor) -> Tensor:
        """Note a use of a weight, and wait for the gradient of its output; that is returned."""
        length = len(use.x) // self.networks
        if length != self._samples:
            # Without its graph, whose hooks lead back here: together they would never be freed.
            self.folded[len(self.lengths)] = use.x.detach().unflatten(0, (self.networks, length))
        self.lengths.append((name, length))
        if torch.is_grad_enabled():
            if not out.requires_grad:
                # Nothing before needed a gradient: let the backward pass come as far as here.
                out = out + self.seed
            self._follow(name, use, out)
        return out

    def _follow(self, name: str, use: Use, out: Tensor) -> None:
        self._expected[name] += 1

        def arrive(grads: Tensor) -> None:
            uses = self._arrived[name]
            uses.append((use, self._rows(grads)))
            if len(uses) == self._expected[name]:
                self._finish(name)

        out.register_hook(arrive)

    def _finish(self, name: str) -> None:
        uses = self._arrived.pop(name)
        self._finished.add(name)
        if all(len(use.x) % (self._samples * self.networks) == 0 for use, _ in uses):
            self.grams[name] = self._gram(self._weights[name], uses)

    def _rows(self, grads: Tensor) -> Tensor:
        """The gradient of an output, in the order of what went in."""
        return grads

    def _gram(self, weight: Tensor, uses: Sequence[tuple[Use, Tensor]]) -> Tensor:
        return gram_matrix(weight, uses, self._samples)

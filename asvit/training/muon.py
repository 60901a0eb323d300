"""Muon: matrices of weights move along the orthogonal part of their momentum."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from proxies.features import float32_products

#: Of the polynomials a x + b x³ + c x⁵ that take singular values from 1/50 to 1 nearest to 1, one
#: after the other.
_POLYNOMIALS = (
    (7.711, -22.1138, 16.2487),
    (3.2153, -2.4112, 0.5013),
    (2.2183, -1.594, 0.4107),
)
_MOMENTUM = 0.95  # share of a direction that remains in the next step
_LEAST = 4  # rows and columns of a matrix
#: Key of a parameter group whose matrices move by AdamW, as of position embeddings.
SPARED = "spared"


class Muon(torch.optim.AdamW):
    """AdamW whose matrices, those of convolutions included, move by Muon.

    They move along the orthogonal part of their momentum, so rare directions are learnt as fast as
    common ones. A step is about as long as AdamW's, so learning rate and weight decay are of its
    size. Biases, norms, depthwise convolutions, and groups that are :data:`SPARED` move by AdamW.

    The orthogonal part is computed in float32, from products of the smaller side. timm's is
    computed in bfloat16, which takes a processor without such products dozens of times as long.

    References:
        Muon, https://kellerjordan.github.io/posts/muon; the length of steps, arXiv:2502.16982; how
        polynomials are chosen, arXiv:2505.16932.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Move matrices, then the others; gradients of the matrices are spent."""
        loss = None if closure is None else torch.enable_grad()(closure)()
        with float32_products("ieee"):  # rounding grows, so TF32 is too coarse
            for group in self.param_groups:
                if not group.get(SPARED, False):
                    self._move(group)
        super().step()
        return loss

    def _move(self, group: dict[str, Any]) -> None:
        by_shape = defaultdict[tuple[int, int], list[tuple[Tensor, Tensor]]](list)
        for weight in group["params"]:
            if weight.grad is not None and is_matrix(weight):
                by_shape[len(weight), weight[0].numel()].append((weight, weight.grad))
                weight.grad = None
        rate = group["lr"]
        for (rows, columns), pairs in by_shape.items():
            weights, gradients = [[*each] for each in zip(*pairs, strict=True)]
            means = [self._mean(weight) for weight in weights]
            torch._foreach_lerp_(means, gradients, 1 - _MOMENTUM)
            directions = torch._foreach_lerp(gradients, means, _MOMENTUM)  # Nesterov's
            stacked = torch.stack([one.reshape(rows, columns) for one in directions])
            moves = orthogonal(stacked) * (0.2 * max(rows, columns) ** 0.5 * rate)
            shaped = [one.reshape(to.shape) for one, to in zip(moves, weights, strict=True)]
            torch._foreach_mul_(weights, 1 - rate * group["weight_decay"])
            torch._foreach_sub_(weights, shaped)

    def _mean(self, weight: Tensor) -> Tensor:
        """The momentum of a matrix, zero at first."""
        state = self.state[weight]
        if not state:
            state["step"] = torch.zeros(())  # AdamW's loading wants it of every weight
            state["momentum_buffer"] = torch.zeros_like(weight)
        mean: Tensor = state["momentum_buffer"]
        return mean


def is_matrix(weight: Tensor) -> bool:
    """Whether a weight maps channels to channels, as depthwise convolutions do not."""
    return (
        weight.ndim >= 2 and weight.shape[1] > 1 and min(len(weight), weight[0].numel()) >= _LEAST
    )


def orthogonal(matrices: Tensor) -> Tensor:
    """The nearest (semi-)orthogonal matrices, about, to some of one shape, ``[k, m, n]``.

    Singular values of at least a fiftieth of a bound, the fourth root of the sum of their fourth
    powers, come to 0.9 to 1.1. Products have to be exact, not in TF32.
    """
    tall = matrices.shape[1] > matrices.shape[2]
    wide = matrices.mT if tall else matrices
    wide = _over(wide, torch.linalg.vector_norm(wide, dim=(1, 2), keepdim=True))
    gram = wide @ wide.mT
    squares = 1.01 * torch.linalg.vector_norm(gram, dim=(1, 2), keepdim=True)
    gram = _over(gram, squares)  # its largest eigenvalue is 1 at most
    # Each polynomial multiplies by a function of the Gram matrix, which is as small.
    whole = _polynomial(gram, *_POLYNOMIALS[0])
    factor = whole
    for numbers in _POLYNOMIALS[1:]:
        gram = factor @ gram @ factor
        factor = _polynomial(gram, *numbers)
        whole = factor @ whole
    moved = _over(whole, squares.sqrt()) @ wide
    return moved.mT if tall else moved


def _polynomial(gram: Tensor, a: float, b: float, c: float) -> Tensor:
    """Sums a + b G + c G² of symmetric matrices ``[k, m, m]``."""
    values = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
    values.diagonal(dim1=1, dim2=2).add_(a)
    return values


def _over(matrices: Tensor, sizes: Tensor) -> Tensor:
    return matrices / sizes.clamp_min(1e-30)

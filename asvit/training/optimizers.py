"""Optimisers and their state, which parameters decay and move by Muon, and learning rates."""

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn, optim

from proxies.features import float32_products

#: Of the polynomials a x + b x³ + c x⁵ that take singular values from 1/50 to 1 nearest to 1, one
#: after the other.
_POLYNOMIALS = (
    (7.711, -22.1138, 16.2487),
    (3.2153, -2.4112, 0.5013),
    (2.2183, -1.594, 0.4107),
)
_MOMENTUM = 0.95  # share of a direction of Muon that remains in the next step
_LEAST = 4  # rows and columns of a matrix
#: Key of a parameter group whose matrices move by AdamW, as of position embeddings.
SPARED = "spared"


def cosine(done: float) -> float:
    """Half a cosine wave, from 1 to 0, at a share ``done`` of its length."""
    return (1 + math.cos(math.pi * done)) / 2


@dataclass(frozen=True)
class Schedule:
    """The learning rate of each update, from 0: a linear warm-up, then a decay.

    References:
        Loshchilov and Hutter 2017, "SGDR", arXiv:1608.03983: the cosine.
    """

    peak: float  # after the warm-up
    updates: int  # of the whole training
    warmup: int = 0  # updates in which the rate rises linearly to the peak
    first: float = 0.0  # rate of the first of these
    last: float = 0.0  # rate that the decay leads to
    decay: Callable[[float], float] = cosine  # of the share that is done, to that which is left
    after_warmup: bool = False  # whether the decay begins there, not with the training

    def __call__(self, update: int) -> float:
        """The learning rate of an update."""
        if update < self.warmup:
            return self.first + update * ((self.peak - self.first) / self.warmup)
        begin = self.warmup if self.after_warmup else 0
        done = (update - begin) / max(self.updates - begin, 1)
        return self.last + (self.peak - self.last) * self.decay(min(done, 1.0))


def parameter_groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """The trainable parameters in groups with and without weight decay.

    Spared are vectors, biases, and what the network or a part of it names, such as position
    embeddings. They are spared by Muon as well, whatever the weight decay is.
    """
    names = _spared(network)
    both: dict[bool, list[nn.Parameter]] = {False: [], True: []}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            both[parameter.ndim < 2 or name.endswith(".bias") or name in names].append(parameter)
    return [
        {"params": both[spared], SPARED: spared, "weight_decay": 0.0 if spared else weight_decay}
        for spared in (True, False)
        if both[spared]
    ]


def _spared(network: nn.Module) -> set[str]:
    names = set[str]()
    for path, module in network.named_modules():
        own = cast("Collection[str]", getattr(module, "no_weight_decay", set)())
        names |= {f"{path}.{name}" if path else name for name in own}
    return names


def make_optimizer(
    name: str, groups: list[dict[str, Any]], *, learning_rate: float, device: torch.device
) -> optim.Optimizer:
    """AdamW, SGD with Nesterov's momentum or Muon, in one kernel where the device has one."""
    options: dict[str, Any] = {"lr": learning_rate, "fused": device.type in ("cpu", "cuda")}
    if name == "sgd":
        return optim.SGD(groups, momentum=0.9, nesterov=True, **options)
    return (Muon if name == "muon" else optim.AdamW)(groups, **options)


def optimizer_state(optimizer: optim.Optimizer) -> dict[str, Tensor]:
    """The state of an optimiser, by ``PARAMETER/NAME``; what groups have is not part of it."""
    return {
        f"{parameter}/{name}": value
        for parameter, values in optimizer.state_dict()["state"].items()
        for name, value in values.items()
        if isinstance(value, Tensor)
    }


def load_optimizer(optimizer: optim.Optimizer, state: Mapping[str, Tensor]) -> None:
    """Load what :func:`optimizer_state` returned into an optimiser of the same parameters."""
    by_parameter = defaultdict[int, dict[str, Tensor]](dict)
    for path, tensor in state.items():
        parameter, _, name = path.partition("/")
        by_parameter[int(parameter)][name] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": by_parameter})


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

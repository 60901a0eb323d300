"""The channel shift, and ShiftViT's blocks, in which only the shift mixes positions."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, cast

import torch
from timm.layers import DropPath, LayerNorm2d, Mlp
from torch import Tensor, nn
from torch.nn import functional as F

#: Axis of ``[B, C, H, W]`` and sign of each group's move: left, right, up, down.
DIRECTIONS: Final = ((3, -1), (3, 1), (2, -1), (2, 1))

Norm = Callable[[int], nn.Module]
#: Constructors of norms, from the channels. ``groupnorm1`` normalises over a whole sample, with
#: one gain per channel; ``layernorm2d`` over the channels of each position.
NORMS: Mapping[str, Norm] = {
    "groupnorm1": partial(nn.GroupNorm, 1),
    "batchnorm2d": nn.BatchNorm2d,
    "layernorm2d": LayerNorm2d,
}
#: Activations by name.
ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {"gelu": nn.GELU, "relu": nn.ReLU}


def shift(x: Tensor, *, n_div: int = 12, step: int = 1) -> Tensor:
    """Move four groups of channels by ``step`` positions: left, right, up and down.

    With ``g = C // n_div``, the first g channels move left, the next g right, then up, then down;
    the others stay. Values that leave the map are dropped, and zeros enter. There are no
    parameters and no multiplications. The result is allocated once and each value written once.

    ``[B, C, H, W] -> [B, C, H, W]``, a new tensor of the same memory format. ``n_div`` is at least
    4. A step of 0 copies ``x``, and a full side or more gives groups of zeros.

    Raises:
        ValueError: If ``n_div`` or ``step`` is out of range.

    References:
        Wang et al. 2022, arXiv:2201.10801.
    """
    check_shift(n_div, step)
    group = x.shape[1] // n_div
    if torch.compiler.is_compiling() or torch._C._is_tracing():
        return _spelt_out(x, group, step)
    return _differentiable(x, group, step)


def check_shift(n_div: int, step: int) -> None:
    """Check the settings of a shift."""
    if n_div < len(DIRECTIONS):
        raise ValueError(f"n_div={n_div} leaves too few parts for 4 directions; use at least 4")
    if step < 0:
        raise ValueError(f"step={step} is not allowed; use 0 (no shift) or more")


def _differentiable(x: Tensor, group: int, step: int) -> Tensor:
    """The shift; recorded for autograd only where a gradient is needed."""
    if x.requires_grad and torch.is_grad_enabled():
        return cast("Tensor", _Shift.apply(x, group, step))
    return _shifted(x, group, step)


def _shifted(x: Tensor, group: int, step: int) -> Tensor:
    """The shift into a new tensor; a negative step reverses every direction."""
    out = torch.empty_like(x)
    for i, (axis, sense) in enumerate(DIRECTIONS):
        source, target = (t[:, i * group : (i + 1) * group] for t in (x, out))
        gap = min(abs(step), x.shape[axis])
        length = x.shape[axis] - gap
        forward = sense * step > 0
        read, write, blank = (0, gap, 0) if forward else (gap, 0, length)
        target.narrow(axis, write, length).copy_(source.narrow(axis, read, length))
        target.narrow(axis, blank, gap).zero_()
    rest = len(DIRECTIONS) * group
    out[:, rest:].copy_(x[:, rest:])
    return out


def _spelt_out(x: Tensor, group: int, step: int) -> Tensor:
    """The shift as pads and a concatenation, for compilers and exported graphs.

    A compiler fuses them, and a graph has two common operators rather than nine writes.
    """
    *groups, rest = x.split([group] * len(DIRECTIONS) + [x.shape[1] - 4 * group], dim=1)
    padded = []
    for part, (axis, sense) in zip(groups, DIRECTIONS, strict=True):
        if step >= x.shape[axis]:
            # As a pad, ONNX Runtime 1.20 fills it with whatever its memory holds.
            padded.append(torch.zeros_like(part))
            continue
        move = sense * step
        padded.append(F.pad(part, (move, -move) if axis == 3 else (0, 0, move, -move)))
    return torch.cat([*padded, rest], dim=1)


class _Shift(torch.autograd.Function):
    """The shift with its derivatives: its transpose is the shift by the negative step.

    Autograd would copy the whole gradient for each of the writes.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, group: int, step: int) -> Tensor:
        return _shifted(x, group, step)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, int, int], output: Tensor) -> None:
        _, ctx.group, ctx.step = inputs

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return _differentiable(grads[0], ctx.group, -ctx.step), None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor) -> Tensor:
        return _differentiable(tangents[0], ctx.group, ctx.step)


class Shift(nn.Module):
    """:func:`shift` as a module, with its arguments and errors."""

    def __init__(self, *, n_div: int = 12, step: int = 1) -> None:
        super().__init__()
        check_shift(n_div, step)
        self.n_div = n_div
        self.step = step

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, H, W] -> [B, C, H, W]``."""
        return shift(x, n_div=self.n_div, step=self.step)

    def extra_repr(self) -> str:
        """The settings, for ``repr``."""
        return f"n_div={self.n_div}, step={self.step}"


class ShiftBlock(nn.Module):
    """A shift, then the feed-forward part with its residual: ``x ← shift(x); x ← x + MLP(N(x))``.

    The shift is outside the residual branch: the sum is of the shifted map, and drop-path never
    skips the shift. ``norm`` and ``act`` are constructors.
    """

    def __init__(
        self,
        dim: int,
        hidden: int,
        *,
        n_div: int = 12,
        step: int = 1,
        norm: Norm = NORMS["groupnorm1"],
        act: Callable[[], nn.Module] = nn.GELU,
        drop: float = 0.0,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.shift = Shift(n_div=n_div, step=step)
        self.norm2 = norm(dim)  # its name in released weights, which have no norm1
        self.mlp = Mlp(dim, hidden, act_layer=act, drop=drop, use_conv=True)
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """``[B, dim, H, W] -> [B, dim, H, W]``."""
        x = self.shift(x)
        return cast("Tensor", x + self.drop_path(self.mlp(self.norm2(x))))


class Merging(nn.Module):
    """Between two stages: a norm, then each 2 x 2 patch becomes one position, twice as wide."""

    def __init__(self, dim: int, *, norm: Norm = NORMS["groupnorm1"]) -> None:
        super().__init__()
        self.norm = norm(dim)
        self.reduction = nn.Conv2d(dim, 2 * dim, 2, stride=2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, dim, H, W] -> [B, 2 * dim, H/2, W/2]``, sides rounded down."""
        return cast("Tensor", self.reduction(self.norm(x)))

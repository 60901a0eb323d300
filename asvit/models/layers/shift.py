"""The shift, and the blocks of a network that mixes positions by nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final, cast

import torch
from timm.layers import DropPath
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

#: Axis of ``[B, C, H, W]`` and sense of the move of each group: left, right, up, down.
DIRECTIONS: Final = ((3, -1), (3, 1), (2, -1), (2, 1))

Norm = Callable[[int], nn.Module]
#: Norms by name, for a width; ``groupnorm1`` normalises all of a sample, with a gain per channel.
NORMS: Mapping[str, Norm] = {
    "groupnorm1": partial(nn.GroupNorm, 1),
    "batchnorm2d": nn.BatchNorm2d,
}
#: Activations by name.
ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {"gelu": nn.GELU, "relu": nn.ReLU}


def shift(x: Tensor, *, n_div: int = 12, step: int = 1) -> Tensor:
    """Move four groups of channels by ``step`` positions: left, right, up and down.

    With ``g = C // n_div``, the first g channels move left, the next right, then up, then down;
    the others stay. What leaves the map is dropped, what enters it is zero. There is nothing to
    learn or to multiply. One tensor is allocated and every number of it written once.

    Args:
        x: ``[B, C, H, W]`` of any sides; its memory format is kept.
        n_div: A group is one of so many parts of the channels, rounded down; at least 4.
        step: Positions; 0 gives the numbers of ``x``, a side or more a group of zeros.

    Returns:
        ``[B, C, H, W]``, a tensor of its own.

    Raises:
        ValueError: If ``n_div`` or ``step`` is out of its range.

    References:
        Wang et al. 2022, "When Shift Operation Meets Vision Transformer: An Extremely Simple
        Alternative to Attention Mechanism", arXiv:2201.10801.
    """
    check_shift(n_div, step)
    group = x.shape[1] // n_div
    if torch.compiler.is_compiling() or torch._C._is_tracing():
        return _spelt_out(x, group, step)
    return _differentiable(x, group, step)


def check_shift(n_div: int, step: int) -> None:
    """Make sure that a shift can be so.

    Raises:
        ValueError: If it cannot.
    """
    if n_div < len(DIRECTIONS):
        raise ValueError(f"n_div={n_div} leaves too few parts for 4 directions; use at least 4")
    if step < 0:
        raise ValueError(f"step={step} is not allowed; use 0 (no shift) or more")


def _differentiable(x: Tensor, group: int, step: int) -> Tensor:
    """The shift, on record only where somebody may ask for its gradient."""
    if x.requires_grad and torch.is_grad_enabled():
        return cast("Tensor", _Shift.apply(x, group, step))
    return _moved(x, group, step)


def _moved(x: Tensor, group: int, step: int) -> Tensor:
    """The shift, into one new tensor; a negative step moves every group the other way."""
    out = torch.empty_like(x)
    for i, (axis, sense) in enumerate(DIRECTIONS):
        source, target = (t[:, i * group : (i + 1) * group] for t in (x, out))
        gap = min(abs(step), x.shape[axis])
        kept = x.shape[axis] - gap
        forward = sense * step > 0
        read, write, blank = (0, gap, 0) if forward else (gap, 0, kept)
        target.narrow(axis, write, kept).copy_(source.narrow(axis, read, kept))
        target.narrow(axis, blank, gap).zero_()
    rest = len(DIRECTIONS) * group
    out[:, rest:].copy_(x[:, rest:])
    return out


def _spelt_out(x: Tensor, group: int, step: int) -> Tensor:
    """The shift as pads and one concatenation.

    A compiler fuses them, and an exported graph has two common operators rather than nine writes.
    """
    *groups, rest = x.split([group] * len(DIRECTIONS) + [x.shape[1] - 4 * group], dim=1)
    padded = []
    for part, (axis, sense) in zip(groups, DIRECTIONS, strict=True):
        move = sense * min(step, x.shape[axis])
        padded.append(F.pad(part, (move, -move) if axis == 3 else (0, 0, move, -move)))
    return torch.cat([*padded, rest], dim=1)


class _Shift(torch.autograd.Function):
    """The shift with its derivatives: backwards it is the shift by the negative step.

    Left to autograd, every one of the writes would copy the whole gradient on its way back.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, group: int, step: int) -> Tensor:
        return _moved(x, group, step)

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
    """:func:`shift` as a module; arguments and errors are that function's."""

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


class ChannelMlp(nn.Module):
    """Linear, activation, linear, at every position of a map alone.

    Args:
        dim: Channels.
        hidden: Channels between the two maps.
        act: Makes the activation.
        drop: Dropout after each map.
    """

    def __init__(
        self, dim: int, hidden: int, *, act: Callable[[], nn.Module] = nn.GELU, drop: float = 0.0
    ) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(dim, hidden, 1)
        self.act = act()
        self.fc2 = nn.Conv2d(hidden, dim, 1)
        self.drop = nn.Dropout(drop)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, dim, H, W] -> [B, dim, H, W]``."""
        out: Tensor = self.drop(self.fc2(self.drop(self.act(self.fc1(x)))))
        return out


class ShiftBlock(nn.Module):
    """A shift, then the feed-forward part with its residual: ``x ← shift(x); x ← x + MLP(N(x))``.

    The shift is outside the residual branch, so that the sum too is of the shifted map, and
    drop-path never undoes it.

    Args:
        dim: Channels.
        hidden: Hidden channels of the feed-forward part.
        n_div: As in :func:`shift`.
        step: As in :func:`shift`.
        norm: Makes the norm of a width.
        act: Makes the activation.
        drop: Dropout in the feed-forward part.
        drop_path: Probability of leaving out the residual branch of a sample in training.
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
        self.norm2 = norm(dim)  # named as in released weights, where the first norm is gone
        self.mlp = ChannelMlp(dim, hidden, act=act, drop=drop)
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """``[B, dim, H, W] -> [B, dim, H, W]``."""
        x = self.shift(x)
        return cast("Tensor", x + self.drop_path(self.mlp(self.norm2(x))))


class Merging(nn.Module):
    """Between two stages: a norm, then each 2 x 2 of positions becomes one, twice as wide.

    Args:
        dim: Channels of the old map.
        norm: Makes the norm of a width.
    """

    def __init__(self, dim: int, *, norm: Norm = NORMS["groupnorm1"]) -> None:
        super().__init__()
        self.norm = norm(dim)
        self.reduction = nn.Conv2d(dim, 2 * dim, 2, stride=2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, dim, H, W] -> [B, 2 * dim, H/2, W/2]``, sides rounded down."""
        out: Tensor = self.reduction(self.norm(x))
        return out


class ShiftStage(nn.Module):
    """Blocks at one width, and what leads to the next stage.

    ``forward`` runs the blocks; whoever holds the stage applies ``downsample`` to the result, so
    that the map of the stage can be read in between.

    Args:
        blocks: The blocks.
        downsample: What leads to the next stage; the identity after the last.
    """

    def __init__(self, blocks: Iterable[nn.Module], downsample: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = downsample
        self.grad_checkpointing = False

    def forward(self, x: Tensor) -> Tensor:
        """``[B, dim, H, W] -> [B, dim, H, W]``."""
        for block in self.blocks:
            if self.grad_checkpointing and self.training:
                x = cast("Tensor", checkpoint(block, x, use_reentrant=False))
            else:
                x = block(x)
        return x

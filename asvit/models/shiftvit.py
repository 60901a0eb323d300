"""The ShiftViT network and its layers, and the nine of the released code in timm's registry."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, cast

import torch
from timm.layers import DropPath, Mlp
from torch import Tensor, nn
from torch.nn import functional as F

from asvit.architectures.genotype import PART_CHOICES
from asvit.models.blocks import (
    PATCH,
    BlockStage,
    StagedNetwork,
    check_choice,
    drop_path_rates,
    hidden_width,
    init_weights,
    make_stem,
    register_networks,
)

__all__ = ["VARIANTS", "ShiftViT", "checkpoint_filter_fn"]

#: Axis of ``[B, C, H, W]`` and sign of each group's move: left, right, up, down.
DIRECTIONS: Final = ((3, -1), (3, 1), (2, -1), (2, 1))

Norm = Callable[[int], nn.Module]
#: Constructors of norms, from the channels.
NORMS: Mapping[str, Norm] = {
    "groupnorm1": partial(nn.GroupNorm, 1),
    "batchnorm2d": nn.BatchNorm2d,
}
#: Activations by name.
ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {"gelu": nn.GELU, "relu": nn.ReLU}


def shift(x: Tensor, *, n_div: int = 12, step: int = 1) -> Tensor:
    """Move four groups of channels by ``step`` positions: left, right, up and down.

    With ``g = C // n_div``, the first g channels move left, the next g right, then up, then down;
    the others stay. Values that leave the map are dropped, and zeros enter.

    ``[B, C, H, W] -> [B, C, H, W]``, a new tensor of the same memory format. ``n_div`` is at least
    4. A step of 0 copies ``x``, and a full side or more gives groups of zeros.

    References:
        Wang et al. 2022, arXiv:2201.10801.
    """
    if n_div < len(DIRECTIONS):
        raise ValueError(f"n_div={n_div} leaves too few parts for 4 directions; use 4 or more")
    group = x.shape[1] // n_div
    if torch.compiler.is_compiling() or torch._C._is_tracing():
        return _spelt_out(x, group, step)
    return _differentiable(x, group, step)


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
    """The shift as pads and a concatenation, for compilers and exported graphs."""
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
    """The shift with its derivatives: its transpose is the shift by the negative step."""

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
    """:func:`shift` as a module, with its arguments."""

    def __init__(self, *, n_div: int = 12, step: int = 1) -> None:
        super().__init__()
        if n_div < len(DIRECTIONS):
            raise ValueError(f"n_div={n_div} leaves too few parts for 4 directions; use 4 or more")
        if step < 0:
            raise ValueError(f"step={step} is not allowed; use 0 (no shift) or more")
        self.n_div = n_div
        self.step = step

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, H, W] -> [B, C, H, W]``."""
        return shift(x, n_div=self.n_div, step=self.step)


class ShiftBlock(nn.Module):
    """A shift outside the residual branch, then ``x ← x + MLP(N(x))``."""

    def __init__(
        self,
        dim: int,
        hidden: int,
        *,
        n_div: int = 12,
        step: int = 1,
        norm: Norm = NORMS["groupnorm1"],
        act: Callable[[], nn.Module] = nn.GELU,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.shift = Shift(n_div=n_div, step=step)
        self.norm2 = norm(dim)  # its name in released weights, which have no norm1
        self.mlp = Mlp(dim, hidden, act_layer=act, use_conv=True)
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


class PatchEmbedding(nn.Module):
    """The stem, then a norm."""

    def __init__(self, channels: int, dim: int, norm: Norm, stem: str = "patch") -> None:
        super().__init__()
        self.proj = make_stem(stem, channels, dim)
        self.norm = norm(dim)

    def forward(self, image: Tensor) -> Tensor:
        """``[B, channels, H, W] -> [B, dim, H/4, W/4]``; patches round down, others up."""
        return cast("Tensor", self.norm(self.proj(image)))


class ShiftViT(StagedNetwork):
    """A pyramid of four stages in which only the shift of channels mixes positions.

    Any image of at least 32 x 32 pixels works, or of ``step + 1`` times these sides where
    ``n_div`` is 4 and every channel moves; what strides do not cover is cut off. Parameter names
    are those of the released code. The default is Shift-T. Other arguments are those of
    :class:`asvit.models.AsViT`.

    Args:
        depths: Blocks in each stage.
        width: Channels of the first stage, doubled in each later one.
        ratio: Hidden width of the feed-forward part over the width of the stage, rounded down.
        n_div: Each of the four shifted groups has 1 / n_div of the channels, rounded down.
        step: Positions by which a group moves; 0 for none.
        norm_layer: ``"groupnorm1"`` or, for the ablation, ``"batchnorm2d"``.
        act_layer: ``"gelu"`` or, for the paper's ablation, ``"relu"``.
        stem: ``"patch"``, ``"conv"`` or ``"deep"``; the last two round sides up.

    Raises:
        ValueError: If a setting is not one of its choices, or out of range.

    References:
        Wang et al. 2022, "When Shift Operation Meets Vision Transformer: An Extremely Simple
        Alternative to Attention Mechanism", arXiv:2201.10801.
    """

    def __init__(
        self,
        *,
        depths: Sequence[int] = (6, 8, 18, 6),
        width: int = 96,
        ratio: float = 2.0,
        n_div: int = 12,
        step: int = 1,
        norm_layer: str = "groupnorm1",
        act_layer: str = "gelu",
        stem: str = "patch",
        in_chans: int = 3,
        num_classes: int = 1000,
        global_pool: str = "avg",
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        stages = range(len(depths))
        super().__init__([width * 2**i for i in stages], [PATCH * 2**i for i in stages])
        check_choice("norm_layer", norm_layer, NORMS)
        check_choice("act_layer", act_layer, ACTIVATIONS)
        check_choice("stem", stem, PART_CHOICES["stem"])
        norm, act = NORMS[norm_layer], ACTIVATIONS[act_layer]
        #: Least sides of the last map: where every channel moves, a smaller one would be empty.
        self._least_sides = step + 1 if n_div == len(DIRECTIONS) else 1
        block = partial(ShiftBlock, n_div=n_div, step=step, norm=norm, act=act)
        self.patch_embed = PatchEmbedding(in_chans, width, norm, stem)
        self.layers = nn.ModuleList()
        rates = drop_path_rates(drop_path_rate, depths)
        for dim, own in zip(self.stage_widths, rates, strict=True):
            hidden = hidden_width(dim, ratio)
            blocks = [block(dim, hidden, drop_path=rate) for rate in own]
            last = dim == self.stage_widths[-1]
            self.layers.append(
                BlockStage(blocks, nn.Identity() if last else Merging(dim, norm=norm))
            )
        self._add_head(norm(self.num_features), num_classes, global_pool, drop_rate)

    def _embed(self, image: Tensor) -> Tensor:
        """``[B, in_chans, H, W] -> [B, width, H/4, W/4]``."""
        least = self._least_sides * PATCH * 2 ** (len(self.layers) - 1)
        if image.ndim != 4 or min(image.shape[2:]) < least:
            raise ValueError(
                f"the images have shape {tuple(image.shape)}; use [batch, channels, height, "
                f"width] with sides of at least {least} px"
            )
        return cast("Tensor", self.patch_embed(image))

    def _pool(self, x: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(x, 1).flatten(1) if self.global_pool == "avg" else x

    def _init_weights(self, module: nn.Module) -> None:
        init_weights(module, (nn.Linear, nn.Conv2d))

    def _classify(self, x: Tensor) -> Tensor:
        # The head takes channels last.
        return cast("Tensor", self.head(x.movedim(1, -1)).movedim(-1, 1))


_SETTINGS: Final = ("width", "depths", "ratio", "n_div", "drop_path_rate")
_VARIANTS: Final = {
    "shiftvit_light_tiny": (96, (2, 2, 6, 2), 4, 12, 0.2),
    "shiftvit_r4_tiny": (96, (2, 2, 12, 3), 4, 12, 0.2),
    "shiftvit_r2_tiny": (96, (6, 8, 18, 6), 2, 12, 0.2),
    "shiftvit_light_small": (96, (2, 2, 18, 2), 4, 12, 0.4),
    "shiftvit_r4_small": (96, (2, 6, 24, 4), 4, 12, 0.4),
    "shiftvit_r2_small": (96, (10, 18, 36, 10), 2, 12, 0.4),
    "shiftvit_light_base": (128, (2, 2, 18, 2), 4, 16, 0.5),
    "shiftvit_r4_base": (128, (4, 6, 22, 4), 4, 16, 0.5),
    "shiftvit_r2_base": (128, (10, 18, 36, 10), 2, 16, 0.6),
}
#: Name in timm -> settings. ``light`` has the depths of Swin without its attention; ``r4`` and
#: ``r2`` spend the cost of the attention on more blocks, with ratio 4 and 2. The drop-path rate is
#: the one of the published training.
VARIANTS: Final[Mapping[str, Mapping[str, Any]]] = {
    name: dict(zip(_SETTINGS, values, strict=True)) for name, values in _VARIANTS.items()
}


def checkpoint_filter_fn(state_dict: Mapping[str, Any], model: nn.Module) -> dict[str, Tensor]:
    """The weights of a released file, which stores them under the key ``model``."""
    return dict(state_dict.get("model", state_dict))


register_networks(
    __name__,
    ShiftViT,
    VARIANTS,
    filter_fn=checkpoint_filter_fn,
    min_input_size=(3, 32, 32),
    paper_ids="arXiv:2201.10801",
    paper_name="When Shift Operation Meets Vision Transformer: An Extremely Simple "
    "Alternative to Attention Mechanism",
)

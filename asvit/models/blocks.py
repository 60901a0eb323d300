"""What several networks share: stems, positions, attention, block stages, initial weights."""

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any, Final, TypeGuard, cast

import torch
from timm.layers import Conv2dSame, resample_abs_pos_embed, trunc_normal_
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

PATCH: Final = 4  # pixels from one token of a stem to the next
_POINT: Final = ((1, 1), 1)  # kernel and groups of a convolution that is a linear map


def make_stem(stem: str, channels: int, dim: int, kernel: int = PATCH) -> nn.Module:
    """What makes tokens of an image: ``[B, channels, H, W] -> [B, dim, H/4, W/4]``.

    A stem of patches may have a kernel above its stride of 4, so that patches overlap. ``"conv"``
    has two 3 x 3 convolutions of stride 2 with a batch norm and GELU between them; ``"deep"``
    three at half the sides of the image, each with batch norm and SiLU, a max pooling and a linear
    map. These round sides up.

    References:
        Xiao et al. 2021, "Early Convolutions Help Transformers See Better", arXiv:2106.14881, for
        two convolutions; He et al. 2019, "Bag of Tricks for Image Classification with
        Convolutional Neural Networks", arXiv:1812.01187, for three.
    """
    if stem == "conv":
        hidden = stem_width(dim)
        return nn.Sequential(
            nn.Conv2d(channels, hidden, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.GELU(),
            nn.Conv2d(hidden, dim, 3, stride=2, padding=1),
        )
    if stem == "deep":
        widths = (channels, *deep_stem_widths(dim))
        layers: list[nn.Module] = []
        for (before, after), stride in zip(pairwise(widths), (2, 1, 1), strict=True):
            layers.append(nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False))
            layers += [nn.BatchNorm2d(after), nn.SiLU()]
        layers += [nn.MaxPool2d(3, stride=2, padding=1), nn.Conv2d(widths[-1], dim, 1)]
        return nn.Sequential(*layers)
    # timm's pads by a copy of the image, also by nothing.
    kind = Conv2dSame if kernel > PATCH else nn.Conv2d
    convolution: nn.Module = kind(channels, dim, kernel, stride=PATCH)
    return convolution


def deep_stem_widths(dim: int) -> tuple[int, int, int]:
    """Channels after each of the three convolutions of a deep stem."""
    return (max(3 * dim // 4, 1), dim, 2 * dim)


def stem_width(dim: int) -> int:
    """Channels between the two convolutions of a stem."""
    return max(dim // 2, 1)


def positions_on(
    grid: tuple[int, int], learned: Tensor, learned_grid: tuple[int, int], prefix: int = 0
) -> Tensor:
    """Position embeddings of a grid of tokens, ``[1, prefix + h * w, dim]`` for h rows of w.

    Those of another grid than that which they were learned for are resampled bicubically, except
    for ``prefix`` tokens before the grid.
    """
    if grid == learned_grid:
        return learned
    resampled: Tensor = resample_abs_pos_embed(
        learned, list(grid), list(learned_grid), num_prefix_tokens=prefix
    )
    return resampled


class SelfAttention(nn.Module):
    """Multi-head self-attention among all tokens of a list; heads have width ``dim // heads``."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.head_dim = dim // heads
        inner = self.head_dim * heads
        self.qkv = nn.Linear(dim, 3 * inner)
        self.proj = nn.Linear(inner, dim)

    def forward(self, x: Tensor) -> Tensor:
        """``[..., N, dim] -> [..., N, dim]``; the whole map is never in memory."""
        q, k, v = self._queries_keys_values(x)
        return self._project(F.scaled_dot_product_attention(q, k, v), x)

    def with_map(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``[..., N, dim] -> [..., N, dim]`` and the map ``[lists, heads, N, N]``."""
        q, k, v = self._queries_keys_values(x)
        attention = (q * self.head_dim**-0.5 @ k.transpose(2, 3)).softmax(dim=-1)
        return self._project(attention @ v, x), attention

    def _queries_keys_values(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """``[..., N, dim]`` to three times ``[lists, heads, N, head_dim]``."""
        qkv = self.qkv(x).view(-1, x.shape[-2], 3, self.heads, self.head_dim)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind()
        return q, k, v

    def _project(self, mixed: Tensor, x: Tensor) -> Tensor:
        """``[lists, heads, N, head_dim]`` to the shape of ``x``."""
        return cast("Tensor", self.proj(mixed.transpose(1, 2).reshape(*x.shape[:-1], -1)))


class BlockStage(nn.Module):
    """Blocks at one width; the network applies ``downsample``, which leads to the next stage."""

    def __init__(self, blocks: Iterable[nn.Module], downsample: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = downsample
        self.grad_checkpointing = False

    def forward(self, x: Tensor) -> Tensor:
        """Apply the blocks, which keep the shape."""
        return run_blocks(self.blocks, x, recompute=self.grad_checkpointing and self.training)


def run_blocks(
    blocks: Iterable[Callable[[Tensor], Tensor]], x: Tensor, *, recompute: bool
) -> Tensor:
    """Apply ``blocks`` in turn, or ``recompute`` each in the backward pass, to save memory."""
    for block in blocks:
        x = checkpoint(block, x, use_reentrant=False) if recompute else block(x)
    return x


def recompute_blocks(model: nn.Module) -> None:
    """Have a network, ours or timm's, recompute its blocks in the backward pass."""
    try:
        cast("Any", model).set_grad_checkpointing(True)
    except (AssertionError, AttributeError) as error:
        kind = type(model).__name__
        raise ValueError(
            f"{kind} cannot recompute its blocks; leave out grad_checkpointing"
        ) from error


def init_weights(module: nn.Module, kinds: tuple[type[nn.Module], ...] = (nn.Linear,)) -> None:
    """Initialise a map as DeiT does: truncated normal weights of std 0.02, and zero biases.

    Modules of other ``kinds`` keep PyTorch's initialisation. The draws are timm's, because those
    of ``torch.nn.init.trunc_normal_`` changed between PyTorch 2.9 and 2.15.
    """
    if isinstance(module, kinds):
        linear = cast("nn.Linear", module)
        trunc_normal_(linear.weight, std=0.02)
        if linear.bias is not None:
            nn.init.zeros_(linear.bias)


def is_linear(module: object) -> TypeGuard[nn.Linear | nn.Conv2d]:
    """Whether a module maps each token by the same matrix: a linear map or 1 x 1 convolution."""
    return isinstance(module, nn.Linear) or (
        isinstance(module, nn.Conv2d) and (module.kernel_size, module.groups) == _POINT
    )


def init_by_width(module: nn.Module) -> None:
    """Initialise a linear map with a spread that falls with its widths, and zero biases.

    Convolutions of 1 x 1 are linear maps, too.
    """
    if is_linear(module):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def hidden_width(dim: int, ratio: float) -> int:
    """``ratio * dim``, rounded down in decimals: 2.3 * 100 is below 230 in binary."""
    return int(round(ratio * dim, 6))


def check_choice(name: str, value: object, choices: Iterable[object]) -> None:
    """Refuse an argument that is not one of ``choices``, and list them."""
    if value not in choices:
        raise ValueError(f"{name}={value!r} is not one of {', '.join(map(repr, choices))}")


class MixedConv2d(nn.Conv2d):
    """A convolution that stays in float32 within autocast where bfloat16 is slow or wrong.

    The gradient of grouped ones takes up to six times as long in bfloat16. Where a map is hardly
    larger than the kernel, or the convolution dilated, oneDNN may leave parts of the gradient of
    the weights unset (torch 2.14 on an AMD EPYC).
    """

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, H, W] -> [B, C', H', W']``."""
        if not torch.is_autocast_enabled("cpu") or self._suits_bfloat16(x):
            return super().forward(x)
        with torch.autocast("cpu", enabled=False):
            return super().forward(x.float())

    def _suits_bfloat16(self, x: Tensor) -> bool:
        sizes = zip(x.shape[-2:], self.kernel_size, self.stride, strict=True)
        large = all(side >= kernel + step for side, kernel, step in sizes)
        return large and self.groups == 1 and self.dilation == (1, 1)


class MixedConv2dSame(MixedConv2d, Conv2dSame):  # type: ignore[misc]
    """The same for one that pads as TensorFlow's SAME does."""

"""As-ViT's layers: patch embedding, re-embedding, and attention inside windows.

Windows are parts of a token grid, without shift and without positions.
"""

from collections.abc import Iterable
from functools import partial
from typing import Any, ClassVar, cast

import torch
from timm.layers import Conv2dSame, DropPath, Mlp
from torch import Tensor, nn
from torch.nn import functional as F

from asvit.models.layers.blocks import (
    STEMS,
    BlockStage,
    SelfAttention,
    run_blocks,
)


def same_padding(kernel: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    """Zeros before and after a side that the stride divides, for one output per ``stride`` inputs.

    TensorFlow's SAME, as timm's ``Conv2dSame`` pads: an extra zero is after the side.
    """
    zeros = max(0, (kernel - 1) * dilation + 1 - stride)
    return zeros // 2, zeros - zeros // 2


class PatchEmbedding(nn.Module):
    """The stem: a convolution of stride 4, whose kernel may overlap, or several; then a norm."""

    stride = 4

    def __init__(self, channels: int, dim: int, kernel: int, stem: str = "patch") -> None:
        super().__init__()
        # timm's pads by a copy of the image, also by nothing.
        kind = Conv2dSame if kernel > self.stride else nn.Conv2d
        self.proj: nn.Module
        if stem == "patch":
            self.proj = kind(channels, dim, kernel, stride=self.stride)
        else:
            self.proj = STEMS[stem](channels, dim)
        self.norm = nn.LayerNorm(dim)

    def forward(self, image: Tensor) -> Tensor:
        """``[B, channels, 4h, 4w] -> [B, h, w, dim]``; fewer tokens at a coarser stride."""
        x = self.proj(image)
        # Contiguous even if the norm is replaced by a module that does not copy.
        return cast("Tensor", self.norm(x.permute(0, 2, 3, 1).contiguous()))


class ReEmbedding(nn.Module):
    """Halves the sides of the grid: each new token is a map of a kernel x kernel patch of tokens.

    An odd side is padded with a row of zeros at the bottom or a column at the right, so that its
    half is rounded up and every token is used. Patches of a kernel above 2 overlap.
    """

    stride = 2

    def __init__(self, dim: int, out_dim: int, kernel: int) -> None:
        super().__init__()
        self.kernel = kernel
        self.padding = same_padding(kernel, self.stride)
        self.norm = nn.LayerNorm(kernel**2 * dim)
        self.reduction = nn.Linear(kernel**2 * dim, out_dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, H, W, dim] -> [B, H/2, W/2, out_dim]``, sides rounded up."""
        return cast("Tensor", self.reduction(self.norm(self.patches(x))))

    def patches(self, x: Tensor) -> Tensor:
        """``[B, H, W, dim] -> [B, H/2, W/2, dim * kernel**2]``, in the order of ``F.unfold``.

        Two stacks of strided slices, rows then columns, are several times faster than ``F.unfold``
        on a CPU, and their backward pass adds in a fixed order on every device.
        """
        height, width = x.shape[1:3]
        before, after = self.padding
        x = F.pad(x, (0, 0, before, after + width % 2, before, after + height % 2))
        offsets = range(self.kernel)
        x = torch.stack([x[:, i : i + height : self.stride] for i in offsets], dim=-1)
        x = torch.stack([x[:, :, j : j + width : self.stride] for j in offsets], dim=-1)
        return x.flatten(3)  # [B, h, w, dim, kernel, kernel] before


def fitting_splits(splits: int, height: int, width: int) -> int:
    """The largest divisor of both sides of a grid that is at most ``splits``."""
    return next(n for n in range(splits, 0, -1) if height % n == 0 and width % n == 0)


def split_windows(x: Tensor, splits: int) -> Tensor:
    """``[B, h, w, dim] -> [B, splits**2, tokens, dim]``; a view if there is one window.

    The batch stays first, for code that reads samples from the first dimension.
    """
    batch, height, width, dim = x.shape
    if splits == 1:
        return x.flatten(1, 2).unsqueeze(1)
    x = x.reshape(batch, splits, height // splits, splits, width // splits, dim)
    return x.transpose(2, 3).reshape(batch, splits**2, -1, dim)


def join_windows(x: Tensor, splits: int, height: int, width: int) -> Tensor:
    """Inverse of :func:`split_windows`: ``[B, splits**2, tokens, dim] -> [B, h, w, dim]``."""
    batch, _, _, dim = x.shape
    if splits == 1:
        return x.reshape(batch, height, width, dim)
    x = x.reshape(batch, splits, splits, height // splits, width // splits, dim)
    return x.transpose(2, 3).reshape(batch, height, width, dim)


class Block(nn.Module):
    """Pre-norm transformer block: attention in windows, then the feed-forward part."""

    feed_forward: ClassVar[type[Mlp]] = Mlp

    def __init__(self, dim: int, heads: int, hidden: int, *, drop_path: float = 0.0) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = SelfAttention(dim, heads)
        # The nesting matches the parameter names of the released code.
        self.mlps = nn.ModuleList(
            [nn.Sequential(nn.LayerNorm(dim), self.feed_forward(dim, hidden))]
        )
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """``[B, windows, tokens, dim] -> [B, windows, tokens, dim]``."""
        x = x + self.drop_path(self.attn(self.norm1(x)))
        return cast("Tensor", x + self.drop_path(self.mlps[0](x)))


class GridMlp(Mlp):  # type: ignore[misc]
    """A feed-forward part of a grid of tokens, with a convolution before its activation."""

    def forward(self, x: Tensor, inner: nn.Module) -> Tensor:
        """``[B, h, w, dim] -> [B, h, w, dim]``; ``inner`` takes ``[B, hidden, h, w]``."""
        hidden = inner(self.fc1(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return cast("Tensor", self.fc2(self.act(hidden)))


class MixingBlock(Block):
    """A block with a 3 x 3 depthwise convolution in its feed-forward part, before GELU.

    It mixes neighbours across windows, so tokens come as a grid.

    References:
        Wang et al. 2021, PVTv2, arXiv:2106.13797.
    """

    feed_forward = GridMlp

    def __init__(self, dim: int, heads: int, hidden: int, *, drop_path: float = 0.0) -> None:
        super().__init__(dim, heads, hidden, drop_path=drop_path)
        self.inner = depthwise(hidden)

    def forward(self, x: Tensor, splits: int = 1) -> Tensor:
        """``[B, h, w, dim] -> [B, h, w, dim]``, with ``splits`` windows per side."""
        mixed = self.attn(split_windows(self.norm1(x), splits))
        x = x + self.drop_path(join_windows(mixed, splits, *x.shape[1:3]))
        norm, mlp = cast("Any", self.mlps[0])
        return cast("Tensor", x + self.drop_path(mlp(norm(x), self.inner)))


def depthwise(dim: int) -> nn.Conv2d:
    """A 3 x 3 convolution of each channel by itself, which begins near the identity.

    With PyTorch's initial weights, networks with such parts learn slowly at first.
    """
    convolution = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)
    nn.init.normal_(convolution.weight, std=0.02)
    with torch.no_grad():
        convolution.weight[:, :, 1, 1] += 1
        cast("Tensor", convolution.bias).zero_()
    return convolution


class Stage(BlockStage):
    """Blocks at one width and one window size, and the re-embedding that follows them.

    ``splits`` are the windows per side of the token grid. Where they do not divide it, as on grids
    of coarser tokens, the largest smaller divisor is used.
    """

    def __init__(self, blocks: Iterable[nn.Module], splits: int, downsample: nn.Module) -> None:
        super().__init__(blocks, downsample)
        self.splits = splits

    def forward(self, x: Tensor) -> Tensor:
        """``[B, h, w, dim] -> [B, h, w, dim]``."""
        height, width = x.shape[1:3]
        splits = fitting_splits(self.splits, height, width)
        # Windows do not shift, so one reordering per stage is enough.
        return join_windows(super().forward(split_windows(x, splits)), splits, height, width)


class GridStage(Stage):
    """A stage of :class:`MixingBlock`, each of which orders its tokens by windows itself."""

    def forward(self, x: Tensor) -> Tensor:
        """``[B, h, w, dim] -> [B, h, w, dim]``."""
        splits = fitting_splits(self.splits, *x.shape[1:3])
        blocks = (partial(block, splits=splits) for block in self.blocks)
        return run_blocks(blocks, x, recompute=self.grad_checkpointing and self.training)

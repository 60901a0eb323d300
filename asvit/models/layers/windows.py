"""As-ViT's blocks: attention inside square windows of a token grid, without shift or positions."""

from collections.abc import Iterable
from typing import cast

from timm.layers import DropPath, Mlp
from torch import Tensor, nn

from asvit.models.layers.blocks import BlockStage, SelfAttention


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
    """Pre-norm transformer block: attention in windows, then the feed-forward part.

    Args:
        dim: Width of a token.
        heads: Attention heads.
        hidden: Hidden width of the feed-forward part.
        drop_path: Drop-path probability of the residual branches.
    """

    def __init__(self, dim: int, heads: int, hidden: int, *, drop_path: float = 0.0) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = SelfAttention(dim, heads)
        # The nesting matches the parameter names of the released code.
        self.mlps = nn.ModuleList([nn.Sequential(nn.LayerNorm(dim), Mlp(dim, hidden))])
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """``[B, windows, tokens, dim] -> [B, windows, tokens, dim]``."""
        x = x + self.drop_path(self.attn(self.norm1(x)))
        return cast("Tensor", x + self.drop_path(self.mlps[0](x)))


class Stage(BlockStage):
    """Blocks at one width and one window size, and the re-embedding that follows them.

    Args:
        blocks: The blocks.
        splits: Windows per side of the token grid. Where they do not divide it, as on grids of
            coarser tokens, the largest smaller divisor is used.
        downsample: Leads to the next stage; the identity after the last.
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

"""As-ViT's blocks: attention inside square windows of a token grid, without shift or positions."""

from collections.abc import Iterable
from typing import cast

from timm.layers import DropPath
from torch import Tensor, nn
from torch.nn import functional as F

from asvit.models.layers.blocks import Mlp, run_blocks


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


class WindowAttention(nn.Module):
    """Multi-head self-attention among the tokens of each window.

    Args:
        dim: Width of a token.
        heads: Number of heads, at most ``dim``, of width ``dim // heads``. Together they are
            narrower than ``dim`` where ``heads`` does not divide it.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.head_dim = dim // heads
        inner = self.head_dim * heads
        self.qkv = nn.Linear(dim, 3 * inner)
        self.proj = nn.Linear(inner, dim)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, windows, tokens, dim] -> [B, windows, tokens, dim]``."""
        batch, windows, tokens, _ = x.shape
        qkv = self.qkv(x).view(batch * windows, tokens, 3, self.heads, self.head_dim)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind()  # [B * windows, heads, tokens, head_dim]
        mixed = F.scaled_dot_product_attention(q, k, v)
        mixed = mixed.transpose(1, 2).reshape(batch, windows, tokens, -1)
        out: Tensor = self.proj(mixed)
        return out


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
        self.attn = WindowAttention(dim, heads)
        # The nesting matches the parameter names of the released code.
        self.mlps = nn.ModuleList([nn.Sequential(nn.LayerNorm(dim), Mlp(dim, hidden))])
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """``[B, windows, tokens, dim] -> [B, windows, tokens, dim]``."""
        x = x + self.drop_path(self.attn(self.norm1(x)))
        return cast("Tensor", x + self.drop_path(self.mlps[0](x)))


class Stage(nn.Module):
    """Blocks at one width and one window size, and the re-embedding that follows them.

    ``forward`` runs the blocks. The network applies ``downsample``, after reading the features of
    the stage.

    Args:
        blocks: The blocks.
        splits: Windows per side of the token grid. Where they do not divide it, as on grids of
            coarser tokens, the largest smaller divisor is used.
        downsample: Leads to the next stage; the identity after the last.
    """

    def __init__(self, blocks: Iterable[nn.Module], splits: int, downsample: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.splits = splits
        self.downsample = downsample
        self.grad_checkpointing = False

    def forward(self, x: Tensor) -> Tensor:
        """``[B, h, w, dim] -> [B, h, w, dim]``."""
        height, width = x.shape[1:3]
        splits = fitting_splits(self.splits, height, width)
        # Windows do not shift, so one reordering per stage is enough.
        x = split_windows(x, splits)
        x = run_blocks(self.blocks, x, recompute=self.grad_checkpointing and self.training)
        return join_windows(x, splits, height, width)

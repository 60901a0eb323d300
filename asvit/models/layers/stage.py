"""The block and the stage of a windowed pyramid."""

from collections.abc import Iterable
from typing import cast

from timm.layers import DropPath
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from asvit.models.layers.mlp import Mlp
from asvit.models.layers.windows import (
    WindowAttention,
    fitting_splits,
    join_windows,
    split_windows,
)


class Block(nn.Module):
    """Pre-norm transformer block: attention in windows, then the feed-forward part.

    Args:
        dim: Width of a token.
        heads: Attention heads.
        hidden: Hidden width of the feed-forward part.
        drop_path: Probability of leaving out a residual branch of a sample in training.
    """

    def __init__(self, dim: int, heads: int, hidden: int, *, drop_path: float = 0.0) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = WindowAttention(dim, heads)
        # This nesting gives the released code's parameter names.
        self.mlps = nn.ModuleList([nn.Sequential(nn.LayerNorm(dim), Mlp(dim, hidden))])
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """``[B, windows, tokens, dim] -> [B, windows, tokens, dim]``."""
        x = x + self.drop_path(self.attn(self.norm1(x)))
        return cast("Tensor", x + self.drop_path(self.mlps[0](x)))


class Stage(nn.Module):
    """Blocks at one width and one window size, and the re-embedding that follows them.

    ``forward`` runs the blocks; whoever holds the stage applies ``downsample`` to the result, so
    that the features of the stage can be read in between.

    Args:
        blocks: The blocks.
        splits: Windows per side of the token grid; where they do not divide it, as on grids of
            coarser tokens, the largest smaller number that does.
        downsample: What leads to the next stage; the identity after the last.
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
        # Windows never shift, so tokens are put in window order once a stage, not once a block.
        x = split_windows(x, splits)
        for block in self.blocks:
            if self.grad_checkpointing and self.training:
                x = cast("Tensor", checkpoint(block, x, use_reentrant=False))
            else:
                x = block(x)
        return join_windows(x, splits, height, width)

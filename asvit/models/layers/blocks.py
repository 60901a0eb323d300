"""What the blocks of several networks share."""

from collections.abc import Iterable
from typing import cast

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class Mlp(nn.Module):
    """The feed-forward part of a block: linear, GELU, linear, for each token.

    Args:
        dim: Width of a token.
        hidden: Hidden width.
    """

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """``[..., dim] -> [..., dim]``."""
        out: Tensor = self.fc2(self.act(self.fc1(x)))
        return out


def run_blocks(blocks: Iterable[nn.Module], x: Tensor, *, recompute: bool) -> Tensor:
    """Apply ``blocks`` in turn.

    Args:
        blocks: The blocks.
        x: The input of the first one.
        recompute: Recompute each block in the backward pass, to save memory.
    """
    for block in blocks:
        x = cast("Tensor", checkpoint(block, x, use_reentrant=False)) if recompute else block(x)
    return x

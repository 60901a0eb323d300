"""Attention inside square-cut windows of a token grid, without shift or position terms."""

from torch import Tensor, nn
from torch.nn import functional as F


def fitting_splits(splits: int, height: int, width: int) -> int:
    """The largest number up to ``splits`` that divides both sides of a grid."""
    return next(n for n in range(splits, 0, -1) if height % n == 0 and width % n == 0)


def split_windows(x: Tensor, splits: int) -> Tensor:
    """``[B, h, w, dim] -> [B, splits**2, tokens, dim]``; a view when there is one window.

    The batch stays in front, so that whatever reads samples off the first dimension still can.
    """
    batch, height, width, dim = x.shape
    if splits == 1:
        return x.flatten(1, 2).unsqueeze(1)
    x = x.reshape(batch, splits, height // splits, splits, width // splits, dim)
    return x.transpose(2, 3).reshape(batch, splits**2, -1, dim)


def join_windows(x: Tensor, splits: int, height: int, width: int) -> Tensor:
    """Undo :func:`split_windows`: ``[B, splits**2, tokens, dim] -> [B, height, width, dim]``."""
    batch, _, _, dim = x.shape
    if splits == 1:
        return x.reshape(batch, height, width, dim)
    x = x.reshape(batch, splits, splits, height // splits, width // splits, dim)
    return x.transpose(2, 3).reshape(batch, height, width, dim)


class WindowAttention(nn.Module):
    """Multi-head self-attention among the tokens of each window.

    Args:
        dim: Width of a token.
        heads: Number of heads, at most ``dim``. Each is ``dim // heads`` wide, so that together
            they are narrower than ``dim`` where it does not divide.
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

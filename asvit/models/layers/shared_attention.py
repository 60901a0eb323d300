"""Transformer layers of PSViT, where two neighbours may share one attention map."""

from typing import cast

from timm.layers import DropPath, Mlp
from torch import Tensor, nn

from asvit.models.layers.blocks import SelfAttention

_EPS = 1e-6  # of the norms, as in DeiT


class SharedAttention(nn.Module):
    """Multi-head attention with the map of another layer: no queries, keys or softmax.

    It saves ``2 * dim**2 + 2 * dim`` parameters over :class:`SelfAttention` and, for N tokens,
    ``2 * N * dim**2 + N**2 * dim`` multiply-adds. Gradients reach the layer that made the map.

    Args:
        dim: Width of a token.
        heads: Number of heads of the map.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.head_dim = dim // heads
        inner = self.head_dim * heads
        self.v = nn.Linear(dim, inner)
        self.proj = nn.Linear(inner, dim)

    def forward(self, x: Tensor, attention: Tensor) -> Tensor:
        """``[B, N, dim]`` and a map ``[B, heads, N, N]`` to ``[B, N, dim]``."""
        v = self.v(x).unflatten(2, (self.heads, self.head_dim)).transpose(1, 2)
        mixed = attention @ v
        return cast("Tensor", self.proj(mixed.transpose(1, 2).flatten(2)))


class _Layer(nn.Module):
    """Pre-norm transformer layer around an attention: the base of the layers."""

    def __init__(self, attention: nn.Module, dim: int, hidden: int, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=_EPS)
        self.attn = attention
        self.norm2 = nn.LayerNorm(dim, eps=_EPS)
        self.mlp = Mlp(dim, hidden)
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()

    def _add(self, x: Tensor, mixed: Tensor) -> Tensor:
        """Add the output of the attention, then apply the feed-forward part."""
        x = x + self.drop_path(mixed)
        return cast("Tensor", x + self.drop_path(self.mlp(self.norm2(x))))


class BasicLayer(_Layer):
    """An ordinary transformer layer.

    ``12 * N * dim**2 + 2 * N**2 * dim`` multiply-adds for N tokens where ``hidden`` is
    ``4 * dim``.

    Args:
        dim: Width of a token.
        heads: Attention heads.
        hidden: Hidden width of the feed-forward part.
        drop_path: Drop-path probability of the residual branches.
    """

    layers = 1

    def __init__(self, dim: int, heads: int, hidden: int, *, drop_path: float = 0.0) -> None:
        super().__init__(SelfAttention(dim, heads), dim, hidden, drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, N, dim] -> [B, N, dim]``."""
        return self._add(x, self.attn(self.norm1(x)))

    def with_map(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """As :meth:`forward`, and the attention map ``[B, heads, N, N]`` after the softmax."""
        mixed, attention = cast("SelfAttention", self.attn).with_map(self.norm1(x))
        return self._add(x, mixed), attention


class SharingLayer(_Layer):
    """A layer that uses the attention map of its predecessor.

    ``10 * N * dim**2 + N**2 * dim`` multiply-adds for N tokens where ``hidden`` is ``4 * dim``.

    Args:
        dim: Width of a token.
        heads: Attention heads, those of the predecessor.
        hidden: Hidden width of the feed-forward part.
        drop_path: Drop-path probability of the residual branches.
    """

    def __init__(self, dim: int, heads: int, hidden: int, *, drop_path: float = 0.0) -> None:
        super().__init__(SharedAttention(dim, heads), dim, hidden, drop_path)

    def forward(self, x: Tensor, attention: Tensor) -> Tensor:
        """``[B, N, dim]`` and a map ``[B, heads, N, N]`` to ``[B, N, dim]``."""
        return self._add(x, self.attn(self.norm1(x), attention))


class SharingPair(nn.Module):
    """Two layers, of which the second uses the attention map of the first.

    Args:
        dim: Width of a token.
        heads: Attention heads.
        hidden: Hidden width of the feed-forward parts.
        drop_path: Drop-path probability of the residual branches of both layers, or of each.

    References:
        Chen et al. 2021, arXiv:2108.03428. Sharing the map after the softmax is our reading.
    """

    layers = 2

    def __init__(
        self,
        dim: int,
        heads: int,
        hidden: int,
        *,
        drop_path: float | tuple[float, float] = 0.0,
    ) -> None:
        super().__init__()
        rates = drop_path if isinstance(drop_path, tuple) else (drop_path, drop_path)
        self.first = BasicLayer(dim, heads, hidden, drop_path=rates[0])
        self.second = SharingLayer(dim, heads, hidden, drop_path=rates[1])

    def forward(self, x: Tensor) -> Tensor:
        """``[B, N, dim] -> [B, N, dim]``."""
        x, attention = self.first.with_map(x)
        return cast("Tensor", self.second(x, attention))

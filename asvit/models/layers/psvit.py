"""Layers of PSViT: two neighbours may share an attention map, and tokens are pooled.

Pooling between two stages makes tokens fewer and wider, in a list or on a grid.
"""

from typing import Any, ClassVar, cast

import torch
from timm.layers import DropPath, Mlp
from torch import Tensor, nn
from torch.nn import functional as F

from asvit.models.layers.blocks import SelfAttention

_EPS = 1e-6  # of the norms, as in DeiT


class SharedAttention(nn.Module):
    """Multi-head attention with the map of another layer: no queries, keys or softmax.

    It saves ``2 * dim**2 + 2 * dim`` parameters over :class:`SelfAttention` and, for N tokens,
    ``2 * N * dim**2 + N**2 * dim`` multiply-adds. Gradients reach the layer that made the map.
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
    """Pre-norm transformer layer around an attention of a kind: the base of the layers."""

    _attention: ClassVar[type[SelfAttention] | type[SharedAttention]]

    def __init__(self, dim: int, heads: int, hidden: int, *, drop_path: float = 0.0) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=_EPS)
        self.attn = self._attention(dim, heads)
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
    """

    _attention = SelfAttention

    def forward(self, x: Tensor, *, with_map: bool = False) -> Any:
        """``[B, N, dim] -> [B, N, dim]``.

        ``with_map``, also the attention map ``[B, heads, N, N]`` after the softmax.
        """
        if not with_map:
            return self._add(x, self.attn(self.norm1(x)))
        mixed, attention = cast("SelfAttention", self.attn).with_map(self.norm1(x))
        return self._add(x, mixed), attention


class SharingLayer(_Layer):
    """A layer that uses the attention map of its predecessor.

    ``10 * N * dim**2 + N**2 * dim`` multiply-adds for N tokens where ``hidden`` is ``4 * dim``.
    """

    _attention = SharedAttention

    def forward(self, x: Tensor, attention: Tensor) -> Tensor:
        """``[B, N, dim]`` and a map ``[B, heads, N, N]`` to ``[B, N, dim]``."""
        return self._add(x, self.attn(self.norm1(x), attention))


class SharingPair(nn.Module):
    """Two layers, of which the second uses the attention map of the first.

    Each has its own drop-path probability.

    References:
        Chen et al. 2021, arXiv:2108.03428. Sharing the map after the softmax is our reading.
    """

    def __init__(
        self, dim: int, heads: int, hidden: int, *, drop_path: tuple[float, float] = (0.0, 0.0)
    ) -> None:
        super().__init__()
        self.first = BasicLayer(dim, heads, hidden, drop_path=drop_path[0])
        self.second = SharingLayer(dim, heads, hidden, drop_path=drop_path[1])

    def forward(self, x: Tensor) -> Tensor:
        """``[B, N, dim] -> [B, N, dim]``."""
        x, attention = self.first(x, with_map=True)
        return cast("Tensor", self.second(x, attention))


class TokenPooling1d(nn.Module):
    """A convolution along the list of tokens widens them; a max-pool then shortens the list.

    The convolution, of an odd ``kernel``, runs over the whole list, including ``prefix`` leading
    tokens, which skip the pool; the ends of the list are padded with 0. Tokens that do not fill a
    window of ``pool`` are dropped. The paper gives neither the kernel nor the treatment of the
    class token; the defaults are ours.

    References:
        Chen et al. 2021, arXiv:2108.03428.
    """

    def __init__(
        self,
        dim: int,
        out_dim: int,
        *,
        kernel: int = 1,
        pool: int = 2,
        stride: int = 2,
        prefix: int = 1,
    ) -> None:
        super().__init__()
        self.kernel = _odd(kernel)
        self.pool = pool
        self.stride = stride
        self.prefix = prefix
        # The convolution as a linear map of neighbours, which the measures can handle.
        self.widen = nn.Linear(kernel * dim, out_dim)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, prefix + N, dim] -> [B, prefix + n, out_dim]``, n = :meth:`pooled` of N."""
        x = self.widen(self.neighbours(x))
        leading, patches = x[:, : self.prefix], x[:, self.prefix :]
        patches = F.max_pool1d(patches.transpose(1, 2), self.pool, self.stride).transpose(1, 2)
        return torch.cat([leading, patches], dim=1)

    def neighbours(self, x: Tensor) -> Tensor:
        """``[B, N, dim] -> [B, N, kernel * dim]``: each token with its neighbours."""
        reach = self.kernel // 2
        if reach == 0:
            return x
        tokens = x.shape[1]
        x = F.pad(x, (0, 0, reach, reach))
        return torch.cat([x[:, i : i + tokens] for i in range(self.kernel)], dim=2)

    def pooled(self, tokens: int) -> int:
        """Number of tokens after the pool, from that before; leading tokens do not count."""
        return (tokens - self.pool) // self.stride + 1


class TokenPooling2d(nn.Module):
    """A strided convolution over the grid of tokens widens them and halves each side.

    Neither a norm nor an activation follows. The paper gives only the stride; the odd kernel and
    the padding with 0 are ours.

    References:
        Chen et al. 2021, arXiv:2108.03428.
    """

    def __init__(self, dim: int, out_dim: int, *, kernel: int = 3, stride: int = 2) -> None:
        super().__init__()
        self.widen = nn.Conv2d(dim, out_dim, _odd(kernel), stride=stride, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, h, w, dim] -> [B, h / stride, w / stride, out_dim]``, quotients rounded up."""
        x = self.widen(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return x.contiguous()  # linear maps of strided tokens are slow


def _odd(kernel: int) -> int:
    if kernel < 1 or kernel % 2 == 0:
        raise ValueError(f"kernel={kernel} has no token in its middle; use an odd number from 1")
    return kernel

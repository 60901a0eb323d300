"""Fewer and wider tokens between two stages: a list of them, or a grid."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class TokenPooling1d(nn.Module):
    """A convolution along the list of tokens widens them; a max-pool then shortens the list.

    The convolution runs over the whole list, leading tokens included. The paper does not say how
    wide its kernel is, nor what becomes of the class token: the defaults here are ours.

    Args:
        dim: Width of the old tokens.
        out_dim: Width of the new ones.
        kernel: Tokens that the convolution reads, odd; beyond the ends of the list they are zero.
        pool: Neighbours of which a channel keeps its largest value.
        stride: Tokens from one such window to the next; what does not fill a window is dropped.
        prefix: Leading tokens that pass by the pool: 1 for a class token, 0 to pool it as well.

    Raises:
        ValueError: If ``kernel`` is even.

    References:
        Chen et al. 2021, "PSViT: Better Vision Transformer via Token Pooling and Attention
        Sharing", arXiv:2108.03428.
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
        # A convolution as one linear map of the tokens that it reads: measures know such maps.
        self.widen = nn.Linear(kernel * dim, out_dim)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, prefix + N, dim] -> [B, prefix + n, out_dim]``, n = :meth:`pooled` of N."""
        x = self.widen(self.neighbours(x))
        leading, patches = x[:, : self.prefix], x[:, self.prefix :]
        patches = F.max_pool1d(patches.transpose(1, 2), self.pool, self.stride).transpose(1, 2)
        return torch.cat([leading, patches], dim=1)

    def neighbours(self, x: Tensor) -> Tensor:
        """``[B, N, dim] -> [B, N, kernel * dim]``: each token between those on either side."""
        reach = self.kernel // 2
        if reach == 0:
            return x
        tokens = x.shape[1]
        x = F.pad(x, (0, 0, reach, reach))
        return torch.cat([x[:, i : i + tokens] for i in range(self.kernel)], dim=2)

    def pooled(self, tokens: int) -> int:
        """How many of so many tokens, leading ones not counted, the pool leaves."""
        return (tokens - self.pool) // self.stride + 1


class TokenPooling2d(nn.Module):
    """One strided convolution over the grid of tokens both widens them and halves each side.

    Neither a norm nor an activation follows. The paper fixes the stride alone; kernel and padding
    are ours.

    Args:
        dim: Width of the old tokens.
        out_dim: Width of the new ones.
        kernel: Tokens along each side that the convolution reads, odd; beyond the edge of the
            grid they are zero.
        stride: Old tokens from one new one to the next.

    Raises:
        ValueError: If ``kernel`` is even.

    References:
        Chen et al. 2021, arXiv:2108.03428.
    """

    def __init__(self, dim: int, out_dim: int, *, kernel: int = 3, stride: int = 2) -> None:
        super().__init__()
        self.stride = stride
        self.widen = nn.Conv2d(dim, out_dim, _odd(kernel), stride=stride, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, h, w, dim] -> [B, h / stride, w / stride, out_dim]``, quotients rounded up."""
        x = self.widen(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return x.contiguous()  # linear maps of tokens that lie apart are slow

    def pooled(self, side: int) -> int:
        """Tokens along a side of the new grid, of so many along that of the old one."""
        return -(-side // self.stride)


def _odd(kernel: int) -> int:
    if kernel < 1 or kernel % 2 == 0:
        raise ValueError(f"kernel={kernel} has no token in its middle; use an odd number from 1")
    return kernel

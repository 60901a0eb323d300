"""Token pooling between two stages of PSViT: fewer and wider tokens, in a list or on a grid."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class TokenPooling1d(nn.Module):
    """A convolution along the list of tokens widens them; a max-pool then shortens the list.

    The convolution runs over the whole list, including leading tokens. The paper gives neither
    its kernel nor the treatment of the class token; the defaults are ours.

    Args:
        dim: Width of the tokens before.
        out_dim: Width of the tokens after.
        kernel: Kernel of the convolution in tokens, odd; the ends of the list are padded with 0.
        pool: Window of the max-pool in tokens.
        stride: Stride of the max-pool; tokens that do not fill a window are dropped.
        prefix: Leading tokens that skip the pool: 1 for a class token, 0 to pool it as well.

    Raises:
        ValueError: If ``kernel`` is even.

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

    Neither a norm nor an activation follows. The paper gives only the stride; kernel and padding
    are ours.

    Args:
        dim: Width of the tokens before.
        out_dim: Width of the tokens after.
        kernel: Side of the kernel in tokens, odd; the edge of the grid is padded with 0.
        stride: Stride in tokens.

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
        return x.contiguous()  # linear maps of strided tokens are slow

    def pooled(self, side: int) -> int:
        """Tokens along a side after the pooling, from those before."""
        return -(-side // self.stride)


def _odd(kernel: int) -> int:
    if kernel < 1 or kernel % 2 == 0:
        raise ValueError(f"kernel={kernel} has no token in its middle; use an odd number from 1")
    return kernel

"""Parts of the PSViT network and its supernet: embedding, cells and stages."""

from collections.abc import Iterable
from typing import Literal, cast

import torch
from timm.layers import resample_abs_pos_embed
from torch import Tensor, nn

from asvit.models.layers.blocks import run_blocks
from asvit.models.layers.shared_attention import BasicLayer, SharingPair
from asvit.models.layers.token_pooling import TokenPooling1d, TokenPooling2d
from asvit.psvit_path import BASIC, IDENTITY, layers_of

Pooling = Literal["1d", "2d"]


class PatchTokens(nn.Module):
    """Cuts an image into patches and adds learned position embeddings.

    Args:
        channels: Channels of the image.
        dim: Width of a token.
        patch: Side of a patch in pixels.
        grid: Rows and columns of patches that positions are learned for. For other grids they are
            resampled bicubically, except that of the class token.
        class_token: Prepend a learned class token to the patches.
        drop: Dropout after the sum.

    Attributes:
        prefix: Tokens before the patches, 1 or 0.
    """

    def __init__(
        self,
        channels: int,
        dim: int,
        *,
        patch: int,
        grid: tuple[int, int],
        class_token: bool,
        drop: float = 0.0,
    ) -> None:
        super().__init__()
        self.patch = patch
        self.grid = grid
        self.prefix = int(class_token)
        self.proj = nn.Conv2d(channels, dim, patch, stride=patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim)) if class_token else None
        self.pos_embed = nn.Parameter(torch.zeros(1, self.prefix + grid[0] * grid[1], dim))
        self.drop = nn.Dropout(drop)
        for embedding in (self.pos_embed, self.cls_token):
            if embedding is not None:
                nn.init.trunc_normal_(embedding, std=0.02)

    def forward(self, image: Tensor) -> Tensor:
        """``[B, channels, H, W] -> [B, prefix + h * w, dim]``, h and w patches along the sides."""
        x = self.proj(image)
        grid = (x.shape[2], x.shape[3])
        x = x.flatten(2).transpose(1, 2).contiguous()
        if self.cls_token is not None:
            x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], dim=1)
        return cast("Tensor", self.drop(x + self.positions(grid)))

    def positions(self, grid: tuple[int, int]) -> Tensor:
        """``[1, prefix + h * w, dim]``: position embeddings for h rows of w patches."""
        if grid == self.grid:
            return self.pos_embed
        resampled = resample_abs_pos_embed(
            self.pos_embed, list(grid), list(self.grid), num_prefix_tokens=self.prefix
        )
        return cast("Tensor", resampled)


class PSViTStage(nn.Module):
    """Token pooling, then cells at one width and number of tokens.

    Args:
        downsample: Token pooling; the identity in the first stage.
        cells: The cells, ``[B, N, dim] -> [B, N, dim]``.
    """

    def __init__(self, downsample: nn.Module, cells: Iterable[nn.Module]) -> None:
        super().__init__()
        self.downsample = downsample
        self.cells = nn.ModuleList(cells)
        self.grad_checkpointing = False

    def forward(self, x: Tensor) -> Tensor:
        """``[B, N, dim_before] -> [B, n, dim]``, or from and to a grid ``[B, h, w, dim]``."""
        x = self.downsample(x)
        tokens = run_blocks(
            self.cells, x.flatten(1, -2), recompute=self.grad_checkpointing and self.training
        )
        return tokens.reshape(x.shape)


def make_cell(
    kind: str, dim: int, heads: int, hidden: int, *, drop_path: tuple[float, ...] = ()
) -> nn.Module:
    """The cell of a letter.

    Args:
        kind: ``b``, ``s`` or ``-``.
        dim: Width of a token.
        heads: Attention heads.
        hidden: Hidden width of the feed-forward parts.
        drop_path: Drop-path probability of each of its layers; by default 0.

    Raises:
        ValueError: If there is no such cell.
    """
    rates = drop_path or (0.0,) * layers_of(kind)
    if kind == IDENTITY:
        return nn.Identity()
    if kind == BASIC:
        return BasicLayer(dim, heads, hidden, drop_path=rates[0])
    return SharingPair(dim, heads, hidden, drop_path=(rates[0], rates[1]))


def make_pooling(
    pooling: Pooling,
    dim: int,
    out_dim: int,
    *,
    kernel: int | None = None,
    window: int = 2,
    stride: int = 2,
    prefix: int = 0,
) -> TokenPooling1d | TokenPooling2d:
    """The token pooling between two stages.

    Args:
        pooling: Whether tokens are a list or a grid.
        dim: Width of the tokens before.
        out_dim: Width of the tokens after.
        kernel: Kernel of the convolution; by default 1 on a list and 3 on a grid.
        window: Window of the max-pool along a list.
        stride: Stride of the max-pool along a list, or of the convolution on a grid.
        prefix: Leading tokens of a list that are not pooled.

    Raises:
        ValueError: If there is no such pooling, or the kernel is even.
    """
    if pooling == "1d":
        return TokenPooling1d(
            dim, out_dim, kernel=kernel or 1, pool=window, stride=stride, prefix=prefix
        )
    if pooling == "2d":
        return TokenPooling2d(dim, out_dim, kernel=kernel or 3, stride=stride)
    raise ValueError(f"pooling={pooling!r} is not one of '1d', '2d'")

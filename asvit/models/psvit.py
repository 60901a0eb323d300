"""The PSViT network: stages of transformer layers that may share attention maps, and pooling.

Its sizes in timm's registry are ours: the paper gives none in a usable form.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final, Literal, cast, get_args

import torch
from timm.layers import DropPath, Mlp, resample_abs_pos_embed, to_2tuple, trunc_normal_
from torch import Tensor, nn
from torch.nn import functional as F

from asvit.architectures.psvit_path import BASIC, IDENTITY, layers_of, patches_of
from asvit.models.blocks import (
    SelfAttention,
    StagedNetwork,
    check_batch,
    check_choice,
    drop_path_rates,
    positions_on,
    register_networks,
    run_blocks,
)

__all__ = ["PRESETS", "PSViT", "checkpoint_filter_fn"]

Pooling = Literal["1d", "2d"]
_EPS: Final = 1e-6  # of the norms, as in DeiT


class SharedAttention(nn.Module):
    """Multi-head attention with the map of another layer: no queries, keys or softmax."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        inner = dim // heads * heads
        self.v = nn.Linear(dim, inner)
        self.proj = nn.Linear(inner, dim)

    def forward(self, x: Tensor, attention: Tensor) -> Tensor:
        """``[B, N, dim]`` and a map ``[B, heads, N, N]`` to ``[B, N, dim]``."""
        mixed = attention @ self.v(x).unflatten(2, (self.heads, -1)).transpose(1, 2)
        return cast("Tensor", self.proj(mixed.transpose(1, 2).flatten(2)))


class Layer(nn.Module):
    """A pre-norm transformer layer, which may use the attention map of its predecessor."""

    def __init__(
        self, dim: int, heads: int, *, drop_path: float = 0.0, shares: bool = False
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=_EPS)
        self.attn = (SharedAttention if shares else SelfAttention)(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=_EPS)
        self.mlp = Mlp(dim, 4 * dim)
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()

    def forward(self, x: Tensor, *shared: Tensor, with_map: bool = False) -> Any:
        """``[B, N, dim] -> [B, N, dim]``; ``shared`` is a map ``[B, heads, N, N]``.

        ``with_map``, also the layer's own map after the softmax.
        """
        attention: Any = self.attn.with_map if with_map else self.attn
        mixed = attention(self.norm1(x), *shared)
        mixed, own = mixed if with_map else (mixed, None)
        x = x + self.drop_path(mixed)
        x = x + self.drop_path(self.mlp(self.norm2(x)))
        return (x, own) if with_map else x


class SharingPair(nn.Module):
    """Two layers, of which the second uses the map of the first after the softmax."""

    def __init__(self, dim: int, heads: int, first: float = 0.0, second: float = 0.0) -> None:
        super().__init__()
        self.first = Layer(dim, heads, drop_path=first)
        self.second = Layer(dim, heads, drop_path=second, shares=True)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, N, dim] -> [B, N, dim]``."""
        return cast("Tensor", self.second(*self.first(x, with_map=True)))


class TokenPooling1d(nn.Module):
    """A linear map widens the tokens of a list; a max-pool then joins neighbours by two."""

    def __init__(self, dim: int, out_dim: int) -> None:
        super().__init__()
        self.widen = nn.Linear(dim, out_dim)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, 1 + N, dim] -> [B, 1 + N // 2, out_dim]``."""
        x = self.widen(x)
        patches = F.max_pool1d(x[:, 1:].transpose(1, 2), 2).transpose(1, 2)
        return torch.cat([x[:, :1], patches], dim=1)


class TokenPooling2d(nn.Module):
    """A 3 x 3 convolution of stride 2 over the grid widens the tokens and halves each side."""

    def __init__(self, dim: int, out_dim: int) -> None:
        super().__init__()
        self.widen = nn.Conv2d(dim, out_dim, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, h, w, dim] -> [B, h/2, w/2, out_dim]``, sides rounded up."""
        x = self.widen(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return x.contiguous()  # linear maps of strided tokens are slow


#: Kind of pooling -> its module, and the default side of a patch in pixels.
_POOLINGS: Final[Mapping[str, tuple[type[TokenPooling1d] | type[TokenPooling2d], int]]] = {
    "1d": (TokenPooling1d, 16),
    "2d": (TokenPooling2d, 8),
}


class PSViT(StagedNetwork):
    """Vision transformer whose tokens become fewer and wider from stage to stage.

    A stage is a text of cells: ``b`` for a basic layer, ``s`` for two layers of which the second
    uses the attention map of the first, ``-`` for nothing. The network ends with the last stage
    that has layers. The sides of an image must be multiples of the patch; at sizes other than
    ``img_size`` position embeddings are resampled. A list of tokens is a feature map up to its
    first pooling only. Other arguments are those of :class:`asvit.models.AsViT`.

    The paper fixes the two kinds of pooling, three stages and the sharing of attention; the rest
    is ours.

    Args:
        cells: The cells of each stage, such as ``("bbs", "bs", "bb")``.
        dims: Width of a token in each stage.
        heads: Attention heads in each stage.
        pooling: ``"1d"`` for a list of tokens behind a class token, ``"2d"`` for a grid.
        img_size: Side of the images in pixels, or (height, width).
        patch_size: Side of a patch in pixels; by default 16 for a list and 8 for a grid.
        global_pool: Input of the head: ``"token"``, the class token; ``"avg"``, the mean over the
            other tokens; ``""``, all tokens. By default the class token, or the mean without one.

    Raises:
        ValueError: If no stage has a layer, an argument does not exist, or an image is too small.

    References:
        Chen et al. 2021, "PSViT: Better Vision Transformer via Token Pooling and Attention
        Sharing", arXiv:2108.03428.
    """

    _stages_name: ClassVar[str] = "stages"
    _downsample_first: ClassVar[bool] = True

    def __init__(
        self,
        cells: Sequence[str],
        dims: Sequence[int],
        heads: Sequence[int],
        *,
        pooling: Pooling,
        img_size: int | tuple[int, int] = 224,
        patch_size: int | None = None,
        in_chans: int = 3,
        num_classes: int = 1000,
        global_pool: str | None = None,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        check_choice("pooling", pooling, get_args(Pooling))
        make_pooling, usual_patch = _POOLINGS[pooling]
        patch = usual_patch if patch_size is None else patch_size
        used = used_stages(cells, dims, heads)
        listed = pooling == "1d"
        super().__init__(dims[:used], [patch * 2**i for i in range(1 if listed else used)])
        self.cells = tuple(cells)
        self.dims = tuple(dims)
        self.pooling = pooling
        self.num_prefix_tokens = int(listed)
        self.patch_size = patch
        rows, columns = (patches_of(side, patch) for side in to_2tuple(img_size))
        self.patch_embed = PatchTokens(
            in_chans, dims[0], patch, grid=(rows, columns), class_token=listed
        )
        rates = drop_path_rates(drop_path_rate, list(map(layers_of, cells)))
        self.stages = nn.ModuleList()
        for i in range(used):
            stage_rates = iter(rates[i])
            downsample = make_pooling(dims[i - 1], dims[i]) if i else nn.Identity()
            layers = [make_cell(kind, dims[i], heads[i], stage_rates) for kind in cells[i]]
            self.stages.append(PSViTStage(downsample, layers))
        self.check_grid(rows, columns)
        if global_pool is None:
            global_pool = "token" if listed else "avg"
        norm = nn.LayerNorm(self.num_features, eps=_EPS)
        self._add_head(norm, num_classes, global_pool, drop_rate)

    def no_weight_decay(self) -> set[str]:
        """Names of parameters without weight decay, besides those of timm's own rule."""
        return {f"patch_embed.{name}" for name in self.patch_embed.no_weight_decay()}

    def check_grid(self, rows: int, columns: int) -> None:
        """Check that a grid of patches has enough tokens for every pooling along a list."""
        pooled = len(self.stages) - 1
        if self.pooling == "1d" and not rows * columns >> pooled:
            raise ValueError(
                f"{rows * columns} tokens cannot be pooled {pooled} times; use a larger image"
            )

    def _embed(self, image: Tensor) -> Tensor:
        """``[B, in_chans, H, W] -> [B, 1 + h * w, dim]``, or ``[B, h, w, dim]`` of a grid."""
        check_batch(image)
        grid = self._grid(image.shape[2], image.shape[3])
        self.check_grid(*grid)
        x: Tensor = self.patch_embed(image)
        return x if self.pooling == "1d" else x.unflatten(1, grid)

    def _grid(self, height: int, width: int) -> tuple[int, int]:
        """Tokens along the sides of an image in pixels; fewer than patches at a coarser stride."""
        for side in (height, width):
            patches_of(side, self.patch_size)
        rows, columns = self.patch_embed.proj.stride
        return -(-height // rows), -(-width // columns)

    def _as_map(self, x: Tensor, image: Tensor) -> Tensor:
        if self.pooling == "1d":
            x = x[:, 1:].unflatten(1, self._grid(image.shape[2], image.shape[3]))
        return x.permute(0, 3, 1, 2)

    def _as_features(self, x: Tensor) -> Tensor:
        return x.flatten(1, -2)

    def _pool(self, x: Tensor) -> Tensor:
        return pool_tokens(x, self.global_pool, self.num_prefix_tokens)

    def _pools(self) -> tuple[str, ...]:
        return ("token", "avg", "") if self.num_prefix_tokens else ("avg", "")


def pool_tokens(x: Tensor, global_pool: str, prefix: int) -> Tensor:
    """Tokens ``[B, prefix + N, dim]`` to the input of the head, as ``global_pool`` says."""
    if global_pool == "token":
        return x[:, 0]
    return x[:, prefix:].mean(dim=1) if global_pool == "avg" else x


class PatchTokens(nn.Module):
    """Cuts an image into patches and adds position embeddings, learned for a ``grid`` of them."""

    def __init__(
        self, channels: int, dim: int, patch: int, *, grid: tuple[int, int], class_token: bool
    ) -> None:
        super().__init__()
        self.grid = grid
        self.prefix = int(class_token)
        self.proj = nn.Conv2d(channels, dim, patch, stride=patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim)) if class_token else None
        self.pos_embed = nn.Parameter(torch.zeros(1, self.prefix + grid[0] * grid[1], dim))
        for embedding in (self.pos_embed, self.cls_token):
            if embedding is not None:
                trunc_normal_(embedding, std=0.02)

    def forward(self, image: Tensor) -> Tensor:
        """``[B, channels, H, W] -> [B, prefix + h * w, dim]``, h and w patches along the sides."""
        x = self.proj(image)
        grid = (x.shape[2], x.shape[3])
        x = x.flatten(2).transpose(1, 2).contiguous()
        if self.cls_token is not None:
            x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], dim=1)
        return cast("Tensor", x + positions_on(grid, self.pos_embed, self.grid, self.prefix))

    def no_weight_decay(self) -> set[str]:
        """Names of parameters without weight decay; a supernet has them, too."""
        return {"pos_embed", "cls_token"}


class PSViTStage(nn.Module):
    """Token pooling, the identity in the first stage, then cells at one number of tokens."""

    def __init__(self, downsample: nn.Module, cells: Iterable[nn.Module]) -> None:
        super().__init__()
        self.downsample = downsample
        self.cells = nn.ModuleList(cells)
        self.grad_checkpointing = False

    def forward(self, x: Tensor) -> Tensor:
        """``[B, N, dim_before] -> [B, n, dim]``, or from and to a grid ``[B, h, w, dim]``."""
        x = self.downsample(x)
        recompute = self.grad_checkpointing and self.training
        return run_blocks(self.cells, x.flatten(1, -2), recompute).reshape(x.shape)


def make_cell(kind: str, dim: int, heads: int, rates: Iterator[float]) -> nn.Module:
    """The cell of a letter; ``rates`` has the drop-path probability of each of its layers."""
    if kind == IDENTITY:
        return nn.Identity()
    if kind == BASIC:
        return Layer(dim, heads, drop_path=next(rates))
    return SharingPair(dim, heads, next(rates), next(rates))


def used_stages(cells: Sequence[str], dims: Sequence[int], heads: Sequence[int]) -> int:
    """Number of stages of the network: up to the last one with layers."""
    fit = len(cells) == len(dims) == len(heads)
    if not fit or not all(1 <= own <= dim for dim, own in zip(dims, heads, strict=True)):
        raise ValueError(
            f"cells {'|'.join(cells)} have dims {list(dims)} and heads {list(heads)}; give one of "
            "each for every stage, and at least as many channels as heads"
        )
    filled = [i for i, stage in enumerate(cells, 1) if layers_of(stage)]
    if not filled:
        raise ValueError(f"cells {'|'.join(cells)} have no layer; use at least one 'b' or 's'")
    return filled[-1]


_EVEN: Final = ("bbbb", "bbbb", "bbbb")
_SHAPES: Final = {
    "psvit_1d_tiny": ("1d", _EVEN, (192, 256, 384), (3, 4, 6)),
    "psvit_1d_tiny_shared": ("1d", ("ss", "ss", "ss"), (192, 256, 384), (3, 4, 6)),
    "psvit_1d_small": ("1d", _EVEN, (384, 512, 768), (6, 8, 12)),
    "psvit_1d_base": ("1d", _EVEN, (768, 1024, 1536), (12, 16, 24)),
    "psvit_2d_tiny": ("2d", ("bb", "bbbb", "bbbbb"), (96, 192, 384), (3, 6, 12)),
    "psvit_2d_tiny_shared": ("2d", ("s", "ss", "ssb"), (96, 192, 384), (3, 6, 12)),
    "psvit_2d_small": ("2d", ("bb", "bbbb", "bbbbb"), (192, 384, 768), (3, 6, 12)),
    "psvit_2d_base": ("2d", ("bb", "bbbb", "bbbbbb"), (384, 768, 1536), (6, 12, 24)),
}
#: Name in timm -> settings of :class:`PSViT`. Widths, heads and depths are ours, not the paper's.
PRESETS: Final[Mapping[str, Mapping[str, Any]]] = {
    name: dict(zip(("pooling", "cells", "dims", "heads"), shape, strict=True))
    for name, shape in _SHAPES.items()
}

_POSITIONS = "patch_embed.pos_embed"


def checkpoint_filter_fn(state: Mapping[str, Tensor], model: PSViT) -> dict[str, Tensor]:
    """A checkpoint for square images, its positions resampled for the image size of ``model``."""
    fitted = dict(state)
    wanted = model.patch_embed
    if _POSITIONS in fitted and fitted[_POSITIONS].shape != wanted.pos_embed.shape:
        fitted[_POSITIONS] = resample_abs_pos_embed(
            fitted[_POSITIONS], list(wanted.grid), num_prefix_tokens=wanted.prefix
        )
    return fitted


register_networks(
    __name__,
    PSViT,
    PRESETS,
    levels=lambda own: 1 if own["pooling"] == "1d" else len(own["cells"]),
    filter_fn=checkpoint_filter_fn,
    fixed_input_size=True,
    pool_size=None,
    paper_ids="arXiv:2108.03428",
    paper_name="PSViT: Better Vision Transformer via Token Pooling and Attention Sharing",
)

"""The PSViT network: three stages of transformer layers that may share attention maps.

It is in timm's registry in sizes of our own: the paper gives its sizes in no usable form.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal, cast, get_args

import torch
from timm.layers import resample_abs_pos_embed, to_2tuple, trunc_normal_
from torch import Tensor, nn

from asvit.architectures.psvit_path import BASIC, IDENTITY, layers_of, patches_of
from asvit.models._registration import register_networks
from asvit.models._staged import StagedNetwork, check_batch, drop_path_rates
from asvit.models.layers.blocks import check_choice, hidden_width, positions_on, run_blocks
from asvit.models.layers.psvit import BasicLayer, SharingPair, TokenPooling1d, TokenPooling2d

__all__ = ["PRESETS", "PSViT", "Preset", "checkpoint_filter_fn"]

Pooling = Literal["1d", "2d"]


class PSViT(StagedNetwork):
    """Vision transformer whose tokens become fewer and wider from stage to stage.

    A stage is a text of cells: ``b`` for a basic layer, ``s`` for two layers of which the second
    uses the attention map of the first, ``-`` for nothing. The sides of an image must be multiples
    of the patch; at sizes other than ``img_size`` position embeddings are resampled. Arguments and
    methods follow timm; other arguments are those of :class:`asvit.models.AsViT`.

    A list of tokens is a feature map up to its first pooling only: pooling joins neighbours in the
    list, some of which are in different rows.

    The paper fixes the two kinds of pooling, three stages and the sharing of attention. Everything
    else is our default: kernels, patches, the place of the class token, position embeddings, the
    readout, and the rule for stages without layers.

    Args:
        cells: The cells of each stage, such as ``("bbs", "bs", "bb")``.
        dims: Width of a token in each stage.
        heads: Attention heads in each stage.
        pooling: ``"1d"`` for a list of tokens behind a class token, ``"2d"`` for a grid.
        img_size: Side of the images in pixels, or (height, width).
        patch_size: Side of a patch in pixels; by default 16 for a list and 8 for a grid.
        global_pool: Input of the head: ``"token"``, the class token; ``"avg"``, the mean over the
            other tokens; ``""``, all tokens. By default the class token, or the mean without one.
        class_token: Whether there is a class token; by default for a list. A grid has none.
        mlp_ratio: Hidden width of the feed-forward parts over the width of the stage.
        conv_kernel: Kernel of the convolution between stages; by default 1 for a list and 3 for a
            grid.
        pool_window: Tokens of a list in one max-pool window; a grid has none.
        pool_stride: Stride of the max-pool along a list, or of the convolution on a grid.
        pool_class_token: Pool the class token of a list like any other.
        skip_empty_tail: End the network with the last stage that has layers, so that norm and head
            have its width. Otherwise tokens are pooled up to the last stage.
        pos_drop_rate: Dropout after the position embeddings.

    Raises:
        ValueError: If no stage has a layer, an argument does not exist, or an image is too small.

    References:
        Chen et al. 2021, "PSViT: Better Vision Transformer via Token Pooling and Attention
        Sharing", arXiv:2108.03428.
    """

    _stages_name: ClassVar[str] = "stages"
    _blocks_name: ClassVar[str] = "cells"
    _downsample_first: ClassVar[bool] = True
    _formats: ClassVar[tuple[str, ...]] = ("NCHW", "NHWC", "NLC")

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
        class_token: bool | None = None,
        mlp_ratio: float = 4.0,
        conv_kernel: int | None = None,
        pool_window: int = 2,
        pool_stride: int = 2,
        pool_class_token: bool = False,
        skip_empty_tail: bool = True,
        drop_rate: float = 0.0,
        pos_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        check_choice("pooling", pooling, get_args(Pooling))
        listed = pooling == "1d"
        class_token = listed if class_token is None else class_token
        if class_token and not listed:
            raise ValueError(f"pooling={pooling!r} has no class token; leave it out, or use '1d'")
        if not listed and (pool_window != 2 or pool_class_token):
            raise ValueError(
                f"pooling={pooling!r} takes neither pool_window nor pool_class_token, which are "
                "of lists; leave them out, or use '1d'"
            )
        used = _used_stages(cells, dims, heads, skip_empty_tail=skip_empty_tail)
        if patch_size is None:
            patch_size = 16 if listed else 8
        if patch_size < 1:
            raise ValueError(f"patch_size={patch_size}; use 1 or more")
        if conv_kernel is None:
            conv_kernel = 1 if listed else 3
        strides = [patch_size * pool_stride**i for i in range(1 if listed else used)]
        super().__init__(dims[:used], strides)
        self.cells = tuple(cells)
        self.dims = tuple(dims)
        self.pooling = pooling
        self.num_prefix_tokens = int(class_token)
        self.patch_size = patch_size
        height, width = to_2tuple(img_size)
        self.patch_embed = PatchTokens(
            in_chans,
            dims[0],
            patch=patch_size,
            grid=(patches_of(height, patch_size), patches_of(width, patch_size)),
            class_token=class_token,
            drop=pos_drop_rate,
        )
        rates = drop_path_rates(drop_path_rate, list(map(layers_of, cells)))
        make_pooling: Callable[..., nn.Module] = partial(TokenPooling2d, kernel=conv_kernel)
        if listed:
            prefix = 0 if pool_class_token else self.num_prefix_tokens
            make_pooling = partial(
                TokenPooling1d, kernel=conv_kernel, pool=pool_window, prefix=prefix
            )
        self.stages = nn.ModuleList()
        for i in range(used):
            downsample: nn.Module = nn.Identity()
            if i > 0:
                downsample = make_pooling(dims[i - 1], dims[i], stride=pool_stride)
            stage_rates = iter(rates[i])
            hidden = hidden_width(dims[i], mlp_ratio)
            layers = [make_cell(kind, dims[i], heads[i], hidden, stage_rates) for kind in cells[i]]
            self.stages.append(PSViTStage(downsample, layers))
        self.check_lists(*self.patch_embed.grid)
        if global_pool is None:
            global_pool = "token" if class_token else "avg"
        norm = nn.LayerNorm(self.num_features, eps=1e-6)
        self._add_head(norm, num_classes, global_pool, drop_rate)

    def no_weight_decay(self) -> set[str]:
        """Names of parameters without weight decay, besides those of timm's own rule."""
        return {f"patch_embed.{name}" for name in self.patch_embed.no_weight_decay()}

    def _embed(self, image: Tensor) -> Tensor:
        """``[B, in_chans, H, W] -> [B, prefix + h * w, dim]``, or ``[B, h, w, dim]`` of a grid."""
        check_batch(image)
        grid = self._grid(image.shape[2], image.shape[3])
        self.check_lists(*grid)
        x: Tensor = self.patch_embed(image)
        return x if self.pooling == "1d" else x.unflatten(1, grid)

    def _grid(self, height: int, width: int) -> tuple[int, int]:
        """Tokens along the sides of an image in pixels; fewer than patches at a coarser stride."""
        for side in (height, width):
            patches_of(side, self.patch_size)
        rows, columns = self.patch_embed.proj.stride
        return -(-height // rows), -(-width // columns)

    def check_lists(self, rows: int, columns: int) -> None:
        """Check that a grid of patches has enough tokens for every pooling along a list."""
        tokens = rows * columns
        for i, stage in enumerate(self.stages):
            pool = stage.downsample
            if not isinstance(pool, TokenPooling1d):
                continue
            pooled = tokens + self.num_prefix_tokens - pool.prefix
            if pooled < pool.pool:
                raise ValueError(
                    f"stage {i + 1} cannot pool {pooled} token(s) by windows of {pool.pool}; "
                    "use a larger image"
                )
            tokens = pool.pooled(pooled) + pool.prefix - self.num_prefix_tokens

    def _as_map(self, x: Tensor, image: Tensor, output_fmt: str) -> Tensor:
        """The output of a stage without class token, as ``NCHW``, ``NHWC`` or ``NLC``."""
        listed = self.pooling == "1d"
        x = x[:, self.num_prefix_tokens :] if listed else x
        if output_fmt == "NLC":
            return x.flatten(1, -2)
        x = x.unflatten(1, self._grid(image.shape[2], image.shape[3])) if listed else x
        return x.permute(0, 3, 1, 2) if output_fmt == "NCHW" else x

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
    """Cuts an image into patches and adds learned position embeddings.

    Positions are learned for a ``grid`` of rows and columns of patches. For other grids they are
    resampled bicubically, except that of the class token, the only ``prefix`` of the patches.
    """

    def __init__(
        self,
        channels: int,
        dim: int,
        *,
        patch: int,
        grid: tuple[int, int],
        class_token: bool,
        drop: float,
    ) -> None:
        super().__init__()
        self.grid = grid
        self.prefix = int(class_token)
        self.proj = nn.Conv2d(channels, dim, patch, stride=patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim)) if class_token else None
        self.pos_embed = nn.Parameter(torch.zeros(1, self.prefix + grid[0] * grid[1], dim))
        self.drop = nn.Dropout(drop)
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
        return cast("Tensor", self.drop(x + self.positions(grid)))

    def no_weight_decay(self) -> set[str]:
        """Names of parameters without weight decay; a supernet has them, too."""
        return {"pos_embed", "cls_token"}

    def positions(self, grid: tuple[int, int]) -> Tensor:
        """``[1, prefix + h * w, dim]``: position embeddings for h rows of w patches."""
        return positions_on(grid, self.pos_embed, self.grid, self.prefix)


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
        tokens = run_blocks(
            self.cells, x.flatten(1, -2), recompute=self.grad_checkpointing and self.training
        )
        return tokens.reshape(x.shape)


def make_cell(kind: str, dim: int, heads: int, hidden: int, rates: Iterator[float]) -> nn.Module:
    """The cell of a letter; ``rates`` has the drop-path probability of each of its layers."""
    if kind == IDENTITY:
        return nn.Identity()
    if kind == BASIC:
        return BasicLayer(dim, heads, hidden, drop_path=next(rates))
    return SharingPair(dim, heads, hidden, drop_path=(next(rates), next(rates)))


def _used_stages(
    cells: Sequence[str], dims: Sequence[int], heads: Sequence[int], *, skip_empty_tail: bool
) -> int:
    """Number of stages of the network: up to the last one with layers, or all."""
    if not len(cells) == len(dims) == len(heads):
        raise ValueError(
            f"{len(cells)} stages of cells, {len(dims)} dims and {len(heads)} heads; "
            "give one of each for every stage"
        )
    for i, (dim, count) in enumerate(zip(dims, heads, strict=True), 1):
        if not 1 <= count <= dim:
            raise ValueError(f"stage {i} has {count} heads for a width of {dim}; use 1 to {dim}")
    last = last_filled(cells, f"cells {'|'.join(cells)} have no layer")
    return last if skip_empty_tail else len(cells)


def last_filled(cells: Sequence[str], refusal: str) -> int:
    """Number of stages up to the last one with layers; without any, a ValueError."""
    filled = [i for i, stage in enumerate(cells, 1) if layers_of(stage)]
    if not filled:
        raise ValueError(f"{refusal}; use at least one 'b' or 's'")
    return filled[-1]


@dataclass(frozen=True)
class Preset:
    """Settings of one size, which are those of :class:`PSViT`."""

    pooling: Pooling
    cells: tuple[str, ...]
    dims: tuple[int, ...]
    heads: tuple[int, ...]


#: Name in timm -> preset. Widths, heads and depths are ours, not the paper's.
PRESETS: Mapping[str, Preset] = {
    "psvit_1d_tiny": Preset("1d", ("bbbb", "bbbb", "bbbb"), (192, 256, 384), (3, 4, 6)),
    "psvit_1d_tiny_shared": Preset("1d", ("ss", "ss", "ss"), (192, 256, 384), (3, 4, 6)),
    "psvit_1d_small": Preset("1d", ("bbbb", "bbbb", "bbbb"), (384, 512, 768), (6, 8, 12)),
    "psvit_1d_base": Preset("1d", ("bbbb", "bbbb", "bbbb"), (768, 1024, 1536), (12, 16, 24)),
    "psvit_2d_tiny": Preset("2d", ("bb", "bbbb", "bbbbb"), (96, 192, 384), (3, 6, 12)),
    "psvit_2d_tiny_shared": Preset("2d", ("s", "ss", "ssb"), (96, 192, 384), (3, 6, 12)),
    "psvit_2d_small": Preset("2d", ("bb", "bbbb", "bbbbb"), (192, 384, 768), (3, 6, 12)),
    "psvit_2d_base": Preset("2d", ("bb", "bbbb", "bbbbbb"), (384, 768, 1536), (6, 12, 24)),
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
    {name: vars(preset) for name, preset in PRESETS.items()},
    levels=lambda own: 1 if own["pooling"] == "1d" else len(own["cells"]),
    filter_fn=checkpoint_filter_fn,
    fixed_input_size=True,
    pool_size=None,
    paper_ids="arXiv:2108.03428",
    paper_name="PSViT: Better Vision Transformer via Token Pooling and Attention Sharing",
)

"""The PSViT network: three stages of transformer layers, some of which share attention maps."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from asvit.models._features import taken_stages
from asvit.models.layers.token_pooling import TokenPooling1d
from asvit.models.psvit_parts import (
    PatchTokens,
    Pooling,
    PSViTStage,
    init_weights,
    make_cell,
    make_pooling,
)
from asvit.psvit_path import layers_of

__all__ = ["PSViT"]


class PSViT(nn.Module):
    """Vision transformer whose tokens become fewer and wider from stage to stage.

    A stage is a text of cells: ``b`` for a basic layer, ``s`` for two layers of which the second
    uses the attention map of the first, ``-`` for nothing. Images whose sides are multiples of
    the patch work, at other sizes than ``img_size`` with resampled position embeddings. Arguments
    and methods follow timm.

    The paper fixes the two kinds of pooling, three stages and what sharing is. All defaults beyond
    that are ours: kernels, patches, where the class token goes, the position embeddings, the
    readout, and the rule for stages without layers.

    Args:
        cells: The cells of each stage, such as ``("bbs", "bs", "bb")``.
        dims: Width of a token in each stage.
        heads: Attention heads in each stage.
        pooling: ``"1d"`` for a list of tokens behind a class token, ``"2d"`` for a grid.
        img_size: Side of the images in pixels, or (height, width).
        patch_size: Side of a patch in pixels; 16 for a list and 8 for a grid where left out.
        in_chans: Channels of the images.
        num_classes: Classes; 0 leaves the head out, so that the pooled features come out.
        global_pool: What the head reads: ``"token"``, the class token; ``"avg"``, the mean over
            the other tokens; ``""``, all. The first for a list and the second for a grid where
            left out.
        class_token: Whether there is a class token; a grid has none.
        mlp_ratio: Hidden width of the feed-forward parts over the width of the stage.
        conv_kernel: Kernel of the convolution between stages; 1 for a list and 3 for a grid where
            left out.
        pool_window: Tokens of a list that one max-pool window holds.
        pool_stride: Tokens from one window to the next, or from one new token of a grid to the
            next.
        pool_class_token: Pool the class token of a list like any other.
        skip_empty_tail: End the network with the last stage that has layers, so that the norm and
            the head have its width. Without it tokens are pooled up to the last stage in any case.
        drop_rate: Dropout in front of the head.
        pos_drop_rate: Dropout after the position embeddings.
        drop_path_rate: Drop-path probability of the last layer; a linear ramp from 0 leads to it.

    Raises:
        ValueError: If no stage has a layer, an argument does not exist, or an image is too small.

    References:
        Chen et al. 2021, "PSViT: Better Vision Transformer via Token Pooling and Attention
        Sharing", arXiv:2108.03428.
    """

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
        super().__init__()
        listed = pooling == "1d"
        class_token = listed if class_token is None else class_token
        if class_token and not listed:
            raise ValueError(f"pooling={pooling!r} has no class token; leave it out, or use '1d'")
        used = _used_stages(cells, dims, heads, skip_empty_tail=skip_empty_tail)
        self.cells = tuple(cells)
        self.dims = tuple(dims)
        self.pooling = pooling
        self.num_classes = num_classes
        self.num_prefix_tokens = int(class_token)
        self.num_features = self.embed_dim = self.head_hidden_size = dims[used - 1]
        self.patch_size = patch_size or (16 if listed else 8)
        height, width = (img_size, img_size) if isinstance(img_size, int) else img_size
        self.patch_embed = PatchTokens(
            in_chans,
            dims[0],
            patch=self.patch_size,
            grid=self._patches(height, width),
            class_token=class_token,
            drop=pos_drop_rate,
        )
        layers = sum(map(layers_of, cells))
        rates = iter(torch.linspace(0, drop_path_rate, layers, device="cpu").tolist())
        self.stages = nn.ModuleList()
        for i in range(used):
            downsample: nn.Module = nn.Identity()
            if i > 0:
                downsample = make_pooling(
                    pooling,
                    dims[i - 1],
                    dims[i],
                    kernel=conv_kernel,
                    window=pool_window,
                    stride=pool_stride,
                    prefix=0 if pool_class_token else self.num_prefix_tokens,
                )
            made = _make_cells(cells[i], dims[i], heads[i], int(dims[i] * mlp_ratio), rates)
            self.stages.append(PSViTStage(downsample, made))
        self._check_lists(*self.patch_embed.grid)
        self.feature_info = [
            {
                "num_chs": dims[i],
                "reduction": self.patch_size * pool_stride**i,
                "module": f"stages.{i}",
            }
            for i in range(1 if listed else used)
        ]
        self.norm: nn.Module = nn.LayerNorm(self.num_features, eps=1e-6)
        self.global_pool = self._known_pool(global_pool or ("token" if class_token else "avg"))
        self.head_drop = nn.Dropout(drop_rate)
        self.head = _head(self.num_features, num_classes)
        self.apply(init_weights)

    def forward(self, image: Tensor) -> Tensor:
        """``[B, in_chans, H, W] -> [B, num_classes]``."""
        return self.forward_head(self.forward_features(image))

    def forward_features(self, image: Tensor) -> Tensor:
        """``[B, in_chans, H, W] -> [B, prefix + N, num_features]``, after the final norm.

        The N tokens of a grid come row by row.

        Raises:
            ValueError: If the patch does not divide H or W, or tokens run out.
        """
        x = self._embed(image)
        for stage in self.stages:
            x = stage(x)
        return cast("Tensor", self.norm(x.flatten(1, -2)))

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """``[B, prefix + N, num_features] -> [B, num_classes]``, or what the head would read.

        Args:
            x: Tokens from :meth:`forward_features`.
            pre_logits: Return what the head would read, ``[B, num_features]``.
        """
        if self.global_pool == "token":
            x = x[:, 0]
        elif self.global_pool == "avg":
            x = x[:, self.num_prefix_tokens :].mean(dim=1)
        if pre_logits:
            return x
        logits: Tensor = self.head(self.head_drop(x))
        return logits

    def forward_intermediates(
        self,
        image: Tensor,
        indices: int | Sequence[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """What the stages give, as timm's feature extraction asks for it.

        A list of tokens is a map up to its first pooling only: pooling joins neighbours in the
        list, of which some are of different rows.

        Args:
            image: ``[B, in_chans, H, W]``.
            indices: Stages from 0, or how many of the last ones; None for all there are.
            norm: Apply the final norm to the result of the last stage.
            stop_early: Leave out the stages after the last one asked for.
            output_fmt: ``"NCHW"`` or ``"NHWC"`` for maps; ``"NLC"`` for tokens, of every stage of
                a list too, without its class token.
            intermediates_only: Return the results alone.

        Returns:
            The results, by themselves or after the tokens of the last stage that was run.

        Raises:
            ValueError: If a stage or the format does not exist, or H or W does not suit.
        """
        if output_fmt not in ("NCHW", "NHWC", "NLC"):
            raise ValueError(f"output_fmt={output_fmt!r} is not one of 'NCHW', 'NHWC', 'NLC'")
        last = len(self.stages) - 1
        maps = min(len(self.feature_info), last + 1)
        taken = taken_stages(indices, last + 1 if output_fmt == "NLC" else maps)
        levels = []
        x = self._embed(image)
        for i, stage in enumerate(self.stages):
            x = stage(x)
            if i in taken:
                level = self.norm(x) if norm and i == last else x
                levels.append(self._in_format(level, image, output_fmt))
            if stop_early and i == max(taken):
                break
        if intermediates_only:
            return levels
        return (self.norm(x) if i == last else x).flatten(1, -2), levels

    def prune_intermediate_layers(
        self,
        indices: int | Sequence[int] = 1,
        prune_norm: bool = False,
        prune_head: bool = True,
    ) -> list[int]:
        """Remove what :meth:`forward_intermediates` does not need for these stages.

        Returns:
            The stages as indices from 0.
        """
        taken = taken_stages(indices, len(self.feature_info))
        end = max(taken) + 1
        shortened = end < len(self.stages)
        self.stages = self.stages[:end]
        if shortened:
            self.num_features = self.embed_dim = self.head_hidden_size = self.dims[end - 1]
        if prune_norm or shortened:
            self.norm = nn.Identity()
        if prune_head or shortened:
            self.reset_classifier(0, "")
        return taken

    def get_classifier(self) -> nn.Module:
        """The linear map to classes, or the identity when there are none."""
        return self.head

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the classifier by a fresh one.

        Args:
            num_classes: Classes; 0 removes the head.
            global_pool: ``"token"``, ``"avg"`` or ``""``; None keeps what is there.
        """
        if global_pool is not None:
            self.global_pool = self._known_pool(global_pool)
        like = next(self.parameters())
        head = _head(self.num_features, num_classes).apply(init_weights)
        self.head = head.to(device=like.device, dtype=like.dtype)
        self.num_classes = num_classes

    def no_weight_decay(self) -> set[str]:
        """Names of parameters that weight decay should spare beyond timm's own rule."""
        return {"patch_embed.pos_embed", "patch_embed.cls_token"}

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Patterns by which timm groups parameters in layers, stem first."""
        fine = [
            (r"^stages\.(\d+)\.downsample", (-1,)),  # before the cells of its stage
            (r"^stages\.(\d+)\.cells\.(\d+)", None),
            (r"^norm", (99999,)),
        ]
        return {"stem": r"^patch_embed", "blocks": r"^stages\.(\d+)" if coarse else fine}

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Trade time for memory in training: recompute each cell in the backward pass."""
        for stage in self.stages:
            cast("PSViTStage", stage).grad_checkpointing = enable

    def _embed(self, image: Tensor) -> Tensor:
        """``[B, in_chans, H, W] -> [B, prefix + h * w, dim]``, or ``[B, h, w, dim]`` of a grid."""
        if image.ndim != 4:
            raise ValueError(
                f"the images have shape {tuple(image.shape)}; use [batch, channels, height, width]"
            )
        grid = self._grid(image.shape[2], image.shape[3])
        self._check_lists(*grid)
        x: Tensor = self.patch_embed(image)
        return x if self.pooling == "1d" else x.unflatten(1, grid)

    def _grid(self, height: int, width: int) -> tuple[int, int]:
        """Tokens along the sides of an image: its patches, or fewer at a coarser stride."""
        self._patches(height, width)
        rows, columns = self.patch_embed.proj.stride
        return -(-height // rows), -(-width // columns)

    def _patches(self, height: int, width: int) -> tuple[int, int]:
        """Patches along the sides of an image in pixels.

        Raises:
            ValueError: If they do not fill a side.
        """
        patch = self.patch_size
        for side in (height, width):
            if side < patch or side % patch:
                below, above = side // patch * patch, -(-side // patch) * patch
                sizes = f"{below} or {above}" if below else f"{max(above, patch)}"
                raise ValueError(
                    f"patches of {patch} px do not fill an image side of {side} px; use {sizes} px"
                )
        return height // patch, width // patch

    def _check_lists(self, rows: int, columns: int) -> None:
        """Make sure that so many patches are enough for every pooling along a list."""
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

    def _in_format(self, x: Tensor, image: Tensor, output_fmt: str) -> Tensor:
        """What a stage gave, without class token: ``NCHW``, ``NHWC`` or ``NLC``."""
        if self.pooling == "1d":
            x = x[:, self.num_prefix_tokens :]
            if output_fmt == "NLC":
                return x
            x = x.unflatten(1, self._grid(image.shape[2], image.shape[3]))
        if output_fmt == "NLC":
            return x.flatten(1, 2)
        return x.permute(0, 3, 1, 2) if output_fmt == "NCHW" else x

    def _known_pool(self, name: str) -> str:
        known = ("token", "avg", "") if self.num_prefix_tokens else ("avg", "")
        if name not in known:
            raise ValueError(f"global_pool={name!r} is not one of {', '.join(map(repr, known))}")
        return name


def _used_stages(
    cells: Sequence[str], dims: Sequence[int], heads: Sequence[int], *, skip_empty_tail: bool
) -> int:
    """How many stages the network has: up to the last one with layers, or all."""
    if not len(cells) == len(dims) == len(heads):
        raise ValueError(
            f"{len(cells)} stages of cells, {len(dims)} dims and {len(heads)} heads; "
            "give one of each for every stage"
        )
    for i, (dim, count) in enumerate(zip(dims, heads, strict=True), 1):
        if not 1 <= count <= dim:
            raise ValueError(f"stage {i} has {count} heads for a width of {dim}; use 1 to {dim}")
    filled = [i for i, stage in enumerate(cells, 1) if layers_of(stage)]
    if not filled:
        raise ValueError(f"cells {'|'.join(cells)} have no layer; use at least one 'b' or 's'")
    return filled[-1] if skip_empty_tail else len(cells)


def _make_cells(
    kinds: str, dim: int, heads: int, hidden: int, rates: Iterator[float]
) -> Iterable[nn.Module]:
    for kind in kinds:
        own = tuple(next(rates) for _ in range(layers_of(kind)))
        yield make_cell(kind, dim, heads, hidden, drop_path=own)


def _head(dim: int, num_classes: int) -> nn.Module:
    return nn.Linear(dim, num_classes) if num_classes else nn.Identity()

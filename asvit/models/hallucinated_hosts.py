"""Attention of hosts replaced: what each keeps of its own, and where its keys lie on a grid."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from timm.layers import Attention as TokenAttention
from timm.models.nextvit import EfficientAttention as NextAttention
from timm.models.nextvit import NextTransformerBlock
from timm.models.pvt_v2 import Attention as PyramidAttention
from timm.models.pvt_v2 import Block as PyramidBlock
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from asvit.models.layers.hallucinated import (
    Axis,
    ClassTokenRule,
    HallucinatedHeads,
    HeadRule,
    split_heads,
)
from asvit.models.layers.shared_attention import MapAttention, SharedAttention
from asvit.models.layers.stage import Stage
from asvit.models.layers.token_grid import Grid, TokenGrid, nominal_grid
from asvit.models.layers.windows import WindowAttention, fitting_splits
from asvit.models.psvit import PSViT


@dataclass(frozen=True)
class MapRules:
    """What the paper leaves open of attention maps; see :class:`HallucinatedHeads`."""

    heads: HeadRule = "double_odd"
    axis: Axis = "key"
    class_token: ClassTokenRule = "identity"
    map_bias: bool = True


class HallucinatedTokenAttention(HallucinatedHeads):
    """Stands for the attention of timm's vision transformers, DeiT among them."""

    where: TokenGrid

    def forward(
        self, x: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False
    ) -> Tensor:
        """``[B, prefix + N, dim] -> [B, prefix + N, dim]``.

        Raises:
            ValueError: If it should be causal: convolutions over maps look at all keys.
        """
        if is_causal:
            raise ValueError("hallucinated attention cannot be causal; its maps mix the scores")
        grid = self.where.of(x.shape[1] - self.prefix)
        return self.attend(x, grid, mask=attn_mask)[0]


class HallucinatedPyramidAttention(HallucinatedHeads):
    """Stands for the attention of PVTv2, whose keys a strided convolution takes to fewer."""

    sr: nn.Module | None
    norm: nn.Module | None

    def forward(self, x: Tensor, feat_size: Grid) -> Tensor:
        """``[B, h * w, dim] -> [B, h * w, dim]``."""
        grid, sources = (feat_size[0], feat_size[1]), x
        if self.sr is not None and self.norm is not None:
            image = self.sr(x.transpose(1, 2).unflatten(2, grid))
            sources = self.norm(image.flatten(2).transpose(1, 2))
            if self.axis == "key":
                grid = (image.shape[2], image.shape[3])
        return self.attend(x, grid, sources=sources)[0]


class HallucinatedPooledAttention(HallucinatedHeads):
    """Stands for the attention of Next-ViT, whose keys are means along the list of tokens.

    Such means lie on no grid. As keys they are taken for one of the size that would suit.
    """

    sr: nn.Module | None
    norm: nn.Module | None
    sr_ratio: int
    where: TokenGrid

    def forward(self, x: Tensor) -> Tensor:
        """``[B, h * w, dim] -> [B, h * w, dim]``."""
        rows, columns = grid = self.where.of(x.shape[1])
        sources = x
        if self.sr is not None and self.norm is not None:
            sources = self.norm(self.sr(x.transpose(1, 2))).transpose(1, 2)
            if self.axis == "key":
                grid = (rows // self.sr_ratio, columns // self.sr_ratio)
                keys = sources.shape[1]
                grid = grid if grid[0] * grid[1] == keys else nominal_grid(keys)
        return self.attend(x, grid, sources=sources)[0]


class HallucinatedWindowAttention(HallucinatedHeads):
    """Stands for the attention of As-ViT, in windows."""

    where: TokenGrid

    def forward(self, x: Tensor) -> Tensor:
        """``[B, windows, tokens, dim] -> [B, windows, tokens, dim]``."""
        return self.attend(x, self.where.of(x.shape[2]))[0]


class HallucinatedMapAttention(HallucinatedHeads):
    """Stands for the attention of PSViT, which hands out its maps, hallucinated ones too."""

    where: TokenGrid

    def forward(self, x: Tensor) -> Tensor:
        """``[B, N, dim] -> [B, N, dim]``."""
        return self.with_map(x)[0]

    def with_map(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``[B, N, dim] -> [B, N, dim]`` and the maps ``[B, heads, N, N]``."""
        return self.attend(x, self.where.of(x.shape[1] - self.prefix))


class PatchGrid(TokenGrid):
    """The grid of a vision transformer's patches."""

    def note_patches(self, embedding: nn.Module, args: Any, output: Tensor) -> None:
        """Forward hook of the patch embedding, whose output is a list or ``[B, h, w, dim]``."""
        sides = output.shape[1:3] if output.ndim == 4 else cast("Grid", embedding.grid_size)
        self.grid = (sides[0], sides[1])


class WindowGrid(TokenGrid):
    """The grid of the tokens in a window."""

    def note_window(self, stage: Stage, args: tuple[Tensor, ...]) -> None:
        """Forward pre-hook of a stage, which gets ``[B, h, w, dim]``."""
        height, width = args[0].shape[1:3]
        splits = fitting_splits(stage.splits, height, width)
        self.grid = (height // splits, width // splits)


class ListGrid(TokenGrid):
    """The grid of tokens that are pooled along their list.

    As long as all rows shrink alike there is one; after that, one near a square stands for it.
    """

    def of(self, tokens: int) -> Grid:
        """The grid of so many tokens.

        Raises:
            ValueError: If no image has been seen.
        """
        if self.grid is None or self.grid[0] * self.grid[1] == tokens:
            return super().of(tokens)
        rows = self.grid[0]
        return nominal_grid(tokens) if tokens % rows else (rows, tokens // rows)


def hallucinate(model: nn.Module, rules: MapRules) -> int:
    """Replace every attention in a network, or part of one, whose kind is known.

    Returns:
        How many there were.

    Raises:
        ValueError: If a host's attention has what a hallucinated one has not, or its heads are
            too narrow for the rule.
    """
    if rules.heads == "double_odd":
        odd = any(heads % 2 for heads in _head_counts(model))
        rules = replace(rules, heads="double" if odd else "double_each")
    count = 0
    for module in list(model.modules()):
        for host, in_host in _HOSTS.items():
            if isinstance(module, host):
                count += in_host(module, rules)
    return count


def _head_counts(model: nn.Module) -> Iterator[int]:
    """Heads of every attention that may be replaced."""
    for module in model.modules():
        if isinstance(module, TokenAttention | PyramidAttention | NextAttention):
            yield module.num_heads
        elif isinstance(module, WindowAttention | MapAttention):
            yield module.heads


def _in_vision_transformer(model: Any, rules: MapRules) -> int:
    where = PatchGrid(tuple(model.patch_embed.grid_size))
    model.patch_embed.register_forward_hook(where.note_patches)
    count = 0
    for block in model.blocks:
        host: Any = getattr(block, "attn", None)
        if isinstance(host, HallucinatedHeads):
            continue
        if type(host) is not TokenAttention or not _is_plain(host):
            raise ValueError(
                f"{type(model).__name__} has blocks with {type(host).__name__} and more than "
                "queries, keys and values in it; only plain attention can be replaced"
            )
        made = HallucinatedTokenAttention(
            host.qkv.in_features,
            prefix=model.num_prefix_tokens,
            qkv_bias=host.qkv.bias is not None,
            **_shape(host.num_heads, host.attn_dim, rules),
        )
        made.where = where
        block.attn = _finish(made, host, value=(host.qkv, 2 * host.attn_dim))
        count += 1
    return count


def _in_pyramid_block(block: Any, rules: MapRules) -> int:
    host = block.attn
    if isinstance(host, HallucinatedHeads):
        return 0
    if host.pool is not None:
        raise ValueError("PVTv2 with linear attention cannot be converted; use one without")
    made = HallucinatedPyramidAttention(
        host.dim, qkv_bias=host.q.bias is not None, **_shape(host.num_heads, host.dim, rules)
    )
    made.sr, made.norm = host.sr, host.norm
    block.attn = _finish(made, host, value=(host.kv, host.dim))
    return 1


def _in_next_block(block: Any, rules: MapRules) -> int:
    host = block.e_mhsa
    if isinstance(host, HallucinatedHeads):
        return 0
    made = HallucinatedPooledAttention(
        host.dim, qkv_bias=host.q.bias is not None, **_shape(host.num_heads, host.dim, rules)
    )
    made.sr, made.norm, made.sr_ratio = host.sr, host.norm, host.sr_ratio
    made.where = TokenGrid()
    block.patch_embed.register_forward_hook(made.where.note_channels_first)
    block.e_mhsa = _finish(made, host, value=(host.v, 0))
    return 1


def _in_window_stage(stage: Any, rules: MapRules) -> int:
    where = WindowGrid()
    count = 0
    for block in stage.blocks:
        host = block.attn
        if isinstance(host, WindowAttention):
            inner = host.heads * host.head_dim
            made = HallucinatedWindowAttention(
                host.qkv.in_features, **_shape(host.heads, inner, rules)
            )
            made.where = where
            block.attn = _finish(made, host, value=(host.qkv, 2 * inner))
            count += 1
    if count:
        stage.register_forward_pre_hook(where.note_window)
    return count


def _in_psvit(model: Any, rules: MapRules) -> int:
    first = ListGrid(model.patch_embed.grid)
    model.patch_embed.proj.register_forward_hook(first.note_channels_first)
    count = 0
    for stage in model.stages:
        where: TokenGrid = first
        if model.pooling == "2d":
            where = TokenGrid()
            stage.downsample.register_forward_hook(where.note_rows_first)
        for layer in list(stage.modules()):
            host = getattr(layer, "attn", None)
            if isinstance(host, SharedAttention):
                _follow_heads(host, rules)
            if not isinstance(host, MapAttention):
                continue
            inner = host.heads * host.head_dim
            made = HallucinatedMapAttention(
                host.qkv.in_features,
                prefix=model.num_prefix_tokens,
                **_shape(host.heads, inner, rules),
            )
            made.where = where
            cast("Any", layer).attn = _finish(made, host, value=(host.qkv, 2 * inner))
            count += 1
    return count


_HOSTS: dict[type[nn.Module], Callable[[Any, MapRules], int]] = {
    VisionTransformer: _in_vision_transformer,
    PyramidBlock: _in_pyramid_block,
    NextTransformerBlock: _in_next_block,
    Stage: _in_window_stage,
    PSViT: _in_psvit,
}


def _shape(heads: int, inner: int, rules: MapRules) -> dict[str, Any]:
    """Arguments that every hallucinated attention gets."""
    split = split_heads(heads, rules.heads)
    if inner % split.heads:
        raise ValueError(
            f"heads={rules.heads!r} makes {split.heads} heads of {heads}, too many for "
            f"{inner} channels; use 'floor' or 'ceil'"
        )
    return {
        "split": split,
        "inner": inner,
        "axis": rules.axis,
        "class_token": rules.class_token,
        "map_bias": rules.map_bias,
    }


@torch.no_grad()
def _finish(
    made: HallucinatedHeads, host: nn.Module, *, value: tuple[nn.Linear, int]
) -> HallucinatedHeads:
    """Take over what has the host's shapes: values, output map, dropout; then its place.

    Args:
        made: What stands for the host.
        host: The attention that goes.
        value: The linear map whose rows, from that one on, are those of the values.
    """
    linear, start = value
    made.proj = cast("nn.Linear", host.proj)
    made.attn_drop = getattr(host, "attn_drop", made.attn_drop)
    made.proj_drop = getattr(host, "proj_drop", made.proj_drop)
    made.to(linear.weight)
    made.v.weight.copy_(linear.weight[start:])
    if linear.bias is not None:
        made.v.bias.copy_(linear.bias[start:])
    return made.train(host.training)


def _follow_heads(host: SharedAttention, rules: MapRules) -> None:
    """Let an attention with another layer's maps take as many as that one now makes."""
    inner = host.heads * host.head_dim
    host.heads = split_heads(host.heads, rules.heads).heads
    host.head_dim = inner // host.heads


def _is_plain(host: TokenAttention) -> bool:
    """Whether timm's attention has none of its options."""
    norms = (host.q_norm, host.k_norm, host.norm)
    return host.gate is None and all(isinstance(norm, nn.Identity) for norm in norms)

"""Replaces the attention of known networks by hallucinated attention, each in its own way."""

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

from asvit.models.layers.blocks import SelfAttention
from asvit.models.layers.hallucinated import (
    Axis,
    ClassTokenRule,
    HallucinatedHeads,
    HeadRule,
    split_heads,
)
from asvit.models.layers.shared_attention import SharedAttention
from asvit.models.layers.token_grid import (
    Grid,
    ListGrid,
    PatchGrid,
    TokenGrid,
    WindowGrid,
    nominal_grid,
)
from asvit.models.layers.windows import Stage
from asvit.models.psvit import PSViT


@dataclass(frozen=True)
class MapSettings:
    """Settings of attention maps that the paper leaves open; see :class:`HallucinatedHeads`."""

    heads: HeadRule = "double_odd"
    axis: Axis = "key"
    class_token: ClassTokenRule = "identity"
    map_bias: bool = True


class HallucinatedTokenAttention(HallucinatedHeads):
    """Replaces the attention of timm's vision transformers, such as DeiT."""

    token_grid: TokenGrid

    def forward(
        self, x: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False
    ) -> Tensor:
        """``[B, prefix + N, dim] -> [B, prefix + N, dim]``.

        Raises:
            ValueError: If ``is_causal``: convolutions over maps mix the scores of all keys.
        """
        if is_causal:
            raise ValueError("hallucinated attention cannot be causal; it mixes all scores")
        grid = self.token_grid.shape(x.shape[1] - self.prefix)
        return self.attend(x, grid, mask=attn_mask)[0]


class HallucinatedPyramidAttention(HallucinatedHeads):
    """Replaces the attention of PVTv2, where a strided convolution reduces the keys."""

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
    """Replaces the attention of Next-ViT, whose keys are means along the list of tokens.

    The means lie on no grid; a grid of a matching size is assumed for them.
    """

    sr: nn.Module | None
    norm: nn.Module | None
    sr_ratio: int
    token_grid: TokenGrid

    def forward(self, x: Tensor) -> Tensor:
        """``[B, h * w, dim] -> [B, h * w, dim]``."""
        rows, columns = grid = self.token_grid.shape(x.shape[1])
        sources = x
        if self.sr is not None and self.norm is not None:
            sources = self.norm(self.sr(x.transpose(1, 2))).transpose(1, 2)
            if self.axis == "key":
                grid = (rows // self.sr_ratio, columns // self.sr_ratio)
                keys = sources.shape[1]
                grid = grid if grid[0] * grid[1] == keys else nominal_grid(keys)
        return self.attend(x, grid, sources=sources)[0]


class HallucinatedSelfAttention(HallucinatedHeads):
    """Replaces the attention of As-ViT and PSViT, and can return its maps."""

    token_grid: TokenGrid

    def forward(self, x: Tensor) -> Tensor:
        """``[..., N, dim] -> [..., N, dim]``."""
        return self.with_map(x)[0]

    def with_map(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``[..., N, dim] -> [..., N, dim]`` and all maps ``[lists, heads, N, N]``."""
        return self.attend(x, self.token_grid.shape(x.shape[-2] - self.prefix))


def hallucinate(model: nn.Module, rules: MapSettings) -> int:
    """Replace every attention of a known kind in a network or a part of one, in place.

    Returns:
        Number of replaced attentions.

    Raises:
        ValueError: If an attention has options that a hallucinated one lacks, or its heads are too
            narrow for the rule.
    """
    if rules.heads == "double_odd":
        odd = any(heads % 2 for heads in _head_counts(model))
        rules = replace(rules, heads="double" if odd else "double_each")
    count = 0
    for module in list(model.modules()):
        for kind, replace_in in _REPLACERS.items():
            if isinstance(module, kind):
                count += replace_in(module, rules)
    return count


def _head_counts(model: nn.Module) -> Iterator[int]:
    """Heads of every attention of a known kind."""
    for module in model.modules():
        if isinstance(module, TokenAttention | PyramidAttention | NextAttention):
            yield module.num_heads
        elif isinstance(module, SelfAttention):
            yield module.heads


def _replace_in_vision_transformer(model: Any, rules: MapSettings) -> int:
    token_grid = PatchGrid(tuple(model.patch_embed.grid_size))
    model.patch_embed.register_forward_hook(token_grid.note_patches)
    count = 0
    for block in model.blocks:
        old: Any = getattr(block, "attn", None)
        if isinstance(old, HallucinatedHeads):
            continue
        if type(old) is not TokenAttention or not _is_plain(old):
            raise ValueError(
                f"{type(model).__name__} has blocks with {type(old).__name__} and more than "
                "queries, keys and values in it; only plain attention can be replaced"
            )
        made = HallucinatedTokenAttention(
            old.qkv.in_features,
            prefix=model.num_prefix_tokens,
            qkv_bias=old.qkv.bias is not None,
            **_shape(old.num_heads, old.attn_dim, rules),
        )
        made.token_grid = token_grid
        block.attn = _finish(made, old, value=(old.qkv, 2 * old.attn_dim))
        count += 1
    return count


def _replace_in_pyramid_block(block: Any, rules: MapSettings) -> int:
    old = block.attn
    if isinstance(old, HallucinatedHeads):
        return 0
    if old.pool is not None:
        raise ValueError("PVTv2 with linear attention cannot be converted; use one without")
    made = HallucinatedPyramidAttention(
        old.dim, qkv_bias=old.q.bias is not None, **_shape(old.num_heads, old.dim, rules)
    )
    made.sr, made.norm = old.sr, old.norm
    block.attn = _finish(made, old, value=(old.kv, old.dim))
    return 1


def _replace_in_next_block(block: Any, rules: MapSettings) -> int:
    old = block.e_mhsa
    if isinstance(old, HallucinatedHeads):
        return 0
    made = HallucinatedPooledAttention(
        old.dim, qkv_bias=old.q.bias is not None, **_shape(old.num_heads, old.dim, rules)
    )
    made.sr, made.norm, made.sr_ratio = old.sr, old.norm, old.sr_ratio
    made.token_grid = TokenGrid()
    block.patch_embed.register_forward_hook(made.token_grid.note_channels_first)
    block.e_mhsa = _finish(made, old, value=(old.v, 0))
    return 1


def _replace_in_window_stage(stage: Any, rules: MapSettings) -> int:
    token_grid = WindowGrid()
    count = 0
    for block in stage.blocks:
        old = block.attn
        if isinstance(old, SelfAttention):
            inner = old.heads * old.head_dim
            made = HallucinatedSelfAttention(
                old.qkv.in_features, **_shape(old.heads, inner, rules)
            )
            made.token_grid = token_grid
            block.attn = _finish(made, old, value=(old.qkv, 2 * inner))
            count += 1
    if count:
        stage.register_forward_pre_hook(token_grid.note_window)
    return count


def _replace_in_psvit(model: Any, rules: MapSettings) -> int:
    first = ListGrid(model.patch_embed.grid)
    model.patch_embed.proj.register_forward_hook(first.note_channels_first)
    count = 0
    for stage in model.stages:
        token_grid: TokenGrid = first
        if model.pooling == "2d":
            token_grid = TokenGrid()
            stage.downsample.register_forward_hook(token_grid.note_rows_first)
        for layer in list(stage.modules()):
            old = getattr(layer, "attn", None)
            if isinstance(old, SharedAttention):
                _match_heads(old, rules)
            if not isinstance(old, SelfAttention):
                continue
            inner = old.heads * old.head_dim
            made = HallucinatedSelfAttention(
                old.qkv.in_features,
                prefix=model.num_prefix_tokens,
                **_shape(old.heads, inner, rules),
            )
            made.token_grid = token_grid
            cast("Any", layer).attn = _finish(made, old, value=(old.qkv, 2 * inner))
            count += 1
    return count


_REPLACERS: dict[type[nn.Module], Callable[[Any, MapSettings], int]] = {
    VisionTransformer: _replace_in_vision_transformer,
    PyramidBlock: _replace_in_pyramid_block,
    NextTransformerBlock: _replace_in_next_block,
    Stage: _replace_in_window_stage,
    PSViT: _replace_in_psvit,
}


def _shape(heads: int, inner: int, rules: MapSettings) -> dict[str, Any]:
    """Arguments of every hallucinated attention."""
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
        "bias": rules.map_bias,
    }


@torch.no_grad()
def _finish(
    made: HallucinatedHeads, old: nn.Module, *, value: tuple[nn.Linear, int]
) -> HallucinatedHeads:
    """Copy what keeps its shape from the old attention: values, output map and dropout.

    Args:
        made: The new attention.
        old: The attention that it replaces.
        value: A linear map, and its first row that belongs to the values.
    """
    linear, start = value
    made.proj = cast("nn.Linear", old.proj)
    made.attn_drop = getattr(old, "attn_drop", made.attn_drop)
    made.proj_drop = getattr(old, "proj_drop", made.proj_drop)
    made.to(linear.weight)
    made.v.weight.copy_(linear.weight[start:])
    if linear.bias is not None:
        made.v.bias.copy_(linear.bias[start:])
    return made.train(old.training)


def _match_heads(old: SharedAttention, rules: MapSettings) -> None:
    """Adapt an attention that uses another layer's maps to their new number."""
    inner = old.heads * old.head_dim
    old.heads = split_heads(old.heads, rules.heads).heads
    old.head_dim = inner // old.heads


def _is_plain(old: TokenAttention) -> bool:
    """Whether timm's attention uses none of its options."""
    norms = (old.q_norm, old.k_norm, old.norm)
    return old.gate is None and all(isinstance(norm, nn.Identity) for norm in norms)

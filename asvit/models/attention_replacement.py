"""Replaces the attention of known networks by hallucinated attention, each in its own way."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

import torch
from timm.layers import Attention as TokenAttention
from timm.models.nextvit import EfficientAttention as NextAttention
from timm.models.nextvit import NextTransformerBlock
from timm.models.pvt_v2 import Attention as PyramidAttention
from timm.models.pvt_v2 import Block as PyramidBlock
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from asvit.models.layers.asvit import Stage, fitting_splits
from asvit.models.layers.blocks import SelfAttention, init_by_width
from asvit.models.layers.hallucinated import (
    HallucinatedHeads,
    HeadRule,
    HeadSplit,
    split_heads,
)
from asvit.models.layers.psvit import SharingPair
from asvit.models.psvit import PSViT

Grid = tuple[int, int]


class TokenGrid:
    """Rows and columns of the tokens in one part of a network, for the image of the last pass.

    A hook on a layer that knows the grid records it. Layers that need the grid share the object.
    Without a ``grid``, it is unknown before the first pass.
    """

    def __init__(self, grid: Grid | None = None) -> None:
        self.grid = grid

    def shape(self, tokens: int) -> Grid:
        """Rows and columns of this many tokens; a ValueError if they are not on the grid."""
        if self.grid is None:
            raise ValueError(
                f"the grid of {tokens} tokens is not known; "
                "run the whole network, which records it"
            )
        rows, columns = self.grid
        if rows * columns != tokens:
            raise ValueError(
                f"{tokens} tokens are not a grid of {rows} rows and {columns} columns"
            )
        return self.grid

    # Hooks are methods, not closures, so that a deep copy of a network gets its own grids.

    def record_channels_first(self, module: nn.Module, args: Any, output: Tensor) -> None:
        """Forward hook of a module with output ``[B, channels, h, w]``."""
        self.grid = (output.shape[2], output.shape[3])

    def record_tokens(self, module: nn.Module, args: Any, output: Tensor) -> None:
        """Forward hook with output ``[B, h, w, dim]``, or the list of timm's patch embedding."""
        sides = output.shape[1:3] if output.ndim == 4 else cast("Grid", module.grid_size)
        self.grid = (sides[0], sides[1])

    def record_window(self, stage: Stage, args: tuple[Tensor, ...]) -> None:
        """Forward pre-hook of an As-ViT's stage, with input ``[B, h, w, dim]``: its windows."""
        height, width = args[0].shape[1:3]
        splits = fitting_splits(stage.splits, height, width)
        self.grid = (height // splits, width // splits)


class ListGrid(TokenGrid):
    """The grid of tokens that are pooled along their list.

    It is exact while all rows shrink alike; after that, a nearly square one replaces it.
    """

    def shape(self, tokens: int) -> Grid:
        """Rows and columns of this many tokens; a ValueError before the first pass."""
        if self.grid is None or self.grid[0] * self.grid[1] == tokens:
            return super().shape(tokens)
        rows = self.grid[0]
        return nominal_grid(tokens) if tokens % rows else (rows, tokens // rows)


def nominal_grid(tokens: int) -> Grid:
    """The most nearly square grid of this many tokens, with at least as many rows as columns."""
    columns = next(n for n in range(int(tokens**0.5), 0, -1) if tokens % n == 0)
    return tokens // columns, columns


class Rules(NamedTuple):
    """How attention is replaced; see :func:`asvit.models.convert`."""

    heads: HeadRule
    kept: float
    maps: Mapping[str, Any]  # settings of :class:`MapHallucination`
    by_width: bool = False  # whether initial weights suit the width

    def split(self, heads: int) -> HeadSplit:
        """The number of heads after replacement, and of real ones among them."""
        return split_heads(heads, self.heads, self.kept)


class HallucinatedTokenAttention(HallucinatedHeads):
    """Replaces the attention of timm's vision transformers, such as DeiT, of As-ViT and of PSViT.

    Like that of the last two, it can return its maps.
    """

    token_grid: TokenGrid

    def forward(
        self, x: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False
    ) -> Tensor:
        """``[..., prefix + N, dim] -> [..., prefix + N, dim]``."""
        if is_causal:
            raise ValueError("hallucinated attention cannot be causal; it mixes all scores")
        return self.with_map(x, attn_mask)[0]

    def with_map(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """As :meth:`forward`, and all maps ``[lists, heads, prefix + N, prefix + N]``."""
        return self.attend(x, self.token_grid.shape(x.shape[-2] - self.prefix), mask=mask)


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


def hallucinate(model: nn.Module, rules: Rules) -> bool:
    """Replace every supported attention in a network or a part of one; False if there is none."""
    modules = list(model.modules())
    if rules.heads == "double_odd":
        odd = any(_heads(module) % 2 for module in modules if isinstance(module, _ATTENTIONS))
        rules = rules._replace(heads="double" if odd else "double_each")
    for module in modules:
        for kind, replace_in in _REPLACERS.items():
            if isinstance(module, kind):
                replace_in(module, rules)
    replaced = {module for module in model.modules() if isinstance(module, HallucinatedHeads)}
    return bool(replaced.difference(modules))


def _heads(attention: Any) -> int:
    own = isinstance(attention, SelfAttention)
    return cast("int", attention.heads if own else attention.num_heads)


def _replace_in_vision_transformer(model: Any, rules: Rules) -> None:
    token_grid = TokenGrid(tuple(model.patch_embed.grid_size))
    model.patch_embed.register_forward_hook(token_grid.record_tokens)
    for block in model.blocks:
        old: Any = getattr(block, "attn", None)
        if isinstance(old, HallucinatedHeads):
            continue
        if type(old) is not TokenAttention or not _is_plain(old):
            raise ValueError(
                f"{type(model).__name__} has blocks with {type(old).__name__} and more than "
                "queries, keys and values in it; only plain attention can be replaced"
            )
        kind, prefix = HallucinatedTokenAttention, model.num_prefix_tokens
        block.attn = _hallucinated(kind, old, old.qkv, rules, prefix, token_grid=token_grid)


def _replace_in_pyramid_block(block: Any, rules: Rules) -> None:
    old = block.attn
    if isinstance(old, HallucinatedHeads):
        return
    if old.pool is not None:
        raise ValueError("PVTv2 with linear attention cannot be converted; use one without")
    parts = {"sr": old.sr, "norm": old.norm}
    block.attn = _hallucinated(HallucinatedPyramidAttention, old, old.kv, rules, **parts)


def _replace_in_next_block(block: Any, rules: Rules) -> None:
    old = block.e_mhsa
    if isinstance(old, HallucinatedHeads):
        return
    grid = TokenGrid()
    block.patch_embed.register_forward_hook(grid.record_channels_first)
    parts = {"sr": old.sr, "norm": old.norm, "sr_ratio": old.sr_ratio, "token_grid": grid}
    block.e_mhsa = _hallucinated(HallucinatedPooledAttention, old, old.v, rules, **parts)


def _replace_in_window_stage(stage: Any, rules: Rules) -> None:
    token_grid = TokenGrid()
    replaced = [_replace_in_layer(block, rules, token_grid) for block in stage.blocks]
    if any(replaced):
        stage.register_forward_pre_hook(token_grid.record_window)


def _replace_in_psvit(model: Any, rules: Rules) -> None:
    first = ListGrid(model.patch_embed.grid)
    model.patch_embed.proj.register_forward_hook(first.record_channels_first)
    for stage in model.stages:
        token_grid: TokenGrid = first
        if model.pooling == "2d":
            token_grid = TokenGrid()
            stage.downsample.register_forward_hook(token_grid.record_tokens)
        for cell in list(stage.modules()):
            layer = cell.first if isinstance(cell, SharingPair) else cell
            replaced = _replace_in_layer(layer, rules, token_grid, model.num_prefix_tokens)
            if replaced and isinstance(cell, SharingPair):
                shared = cell.second.attn  # which has as many heads as there are maps
                inner = shared.heads * shared.head_dim
                shared.heads = layer.attn.heads
                shared.head_dim = inner // shared.heads


def _replace_in_layer(layer: Any, rules: Rules, grid: TokenGrid, prefix: int = 0) -> bool:
    """Replace the attention of one of our layers; False if it has none."""
    old = getattr(layer, "attn", None)
    if not isinstance(old, SelfAttention):
        return False
    layer.attn = _hallucinated(
        HallucinatedTokenAttention, old, old.qkv, rules, prefix, token_grid=grid
    )
    return True


_ATTENTIONS = (TokenAttention, PyramidAttention, NextAttention, SelfAttention)
_REPLACERS: dict[type[nn.Module], Callable[[Any, Rules], None]] = {
    VisionTransformer: _replace_in_vision_transformer,
    PyramidBlock: _replace_in_pyramid_block,
    NextTransformerBlock: _replace_in_next_block,
    Stage: _replace_in_window_stage,
    PSViT: _replace_in_psvit,
}


@torch.no_grad()
def _hallucinated(
    kind: type[HallucinatedHeads],
    old: Any,
    values: nn.Linear,
    rules: Rules,
    prefix: int = 0,
    **parts: Any,
) -> HallucinatedHeads:
    """A hallucinated attention with the values, output map and dropout of the ``old`` attention.

    The last channels of its linear map ``values`` are values; queries and keys come before them.
    ``parts`` are its further attributes.
    """
    heads = _heads(old)
    inner = old.proj.in_features
    split = rules.split(heads)
    if inner % split.heads:
        raise ValueError(
            f"{split.heads} heads in place of {heads} do not divide {inner} channels; use "
            "heads='floor' or 'ceil'"
        )
    attention = kind(
        values.in_features,
        split,
        inner=inner,
        prefix=prefix,
        qkv_bias=values.bias is not None,
        **rules.maps,
    )
    if rules.by_width:
        for linear in (attention.q, attention.k):
            init_by_width(linear)
    attention.proj = old.proj
    attention.attn_drop = getattr(old, "attn_drop", attention.attn_drop)
    attention.proj_drop = getattr(old, "proj_drop", attention.proj_drop)
    attention.to(values.weight)
    attention.v.weight.copy_(values.weight[-inner:])
    if values.bias is not None:
        attention.v.bias.copy_(values.bias[-inner:])
    attention.train(old.training)
    for name, part in parts.items():
        setattr(attention, name, part)
    return attention


def _is_plain(old: TokenAttention) -> bool:
    """Whether timm's attention uses none of its options."""
    norms = (old.q_norm, old.k_norm, old.norm)
    return old.gate is None and all(isinstance(norm, nn.Identity) for norm in norms)

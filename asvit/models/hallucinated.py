"""Hallucinated attention, half of whose maps are computed from the others, and its hosts."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Literal, NamedTuple, cast, get_args

import torch
from timm.layers import Attention as TokenAttention
from timm.models.nextvit import EfficientAttention as NextAttention
from timm.models.nextvit import NextTransformerBlock
from timm.models.pvt_v2 import Attention as PyramidAttention
from timm.models.pvt_v2 import Block as PyramidBlock
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import handle_torch_function, has_torch_function

from asvit.models.blocks import check_choice, init_weights
from proxies.per_sample_gradients import RULES, WeightUse, convolution_use

HeadRule = Literal["double_odd", "double"]
Maps = Literal["within_across", "across_within", "within", "across", "copy"]
Grid = tuple[int, int]


def split_heads(heads: int, rule: HeadRule = "double_odd", kept: float = 0.5) -> tuple[int, int]:
    """The number of heads, doubled by the rule, and of real ones: a share ``kept``, at least 1."""
    check_choice("heads", rule, get_args(HeadRule))
    if not 0 < kept <= 1:
        raise ValueError(f"kept must be above 0 and at most 1, got {kept}")
    if rule == "double" or heads % 2:
        heads *= 2
    return heads, max(1, math.floor(round(kept * heads, 6)))  # a third of six is two


class MapHallucination(nn.Module):
    """Computes further attention maps from real ones, before the softmax.

    Within heads: the keys of each map are unfolded to the grid of their tokens; a depthwise 3 × 3
    convolution over the grid mixes neighbouring scores. Scores of class tokens stay. Across heads:
    a 1 × 1 convolution over the heads. For ablations, ``maps`` names another order, or leaves one
    or both out; real maps are then repeated in turn.
    """

    def __init__(self, real: int, hallucinated: int, maps: Maps = "within_across") -> None:
        super().__init__()
        check_choice("maps", maps, get_args(Maps))
        self.maps = maps
        self.hallucinated = hallucinated
        heads = hallucinated if maps == "across_within" else real
        within = nn.Conv2d(heads, heads, 3, padding=1, groups=heads) if "within" in maps else None
        self.intra = within
        self.cross = nn.Conv2d(real, hallucinated, 1) if "across" in maps else None
        for conv, inputs in ((self.intra, 9), (self.cross, real)):
            if conv is not None:  # new maps have the spread of the real ones
                nn.init.normal_(conv.weight, std=inputs**-0.5)
                nn.init.zeros_(cast("Tensor", conv.bias))

    def forward(self, scores: Tensor, grid: Grid, prefix: int = 0) -> Tensor:
        """``[B, real, N, M] -> [B, real + hallucinated, N, M]``, the real maps first."""
        new = self._across(scores) if self.maps == "across_within" else scores
        if self.intra is not None:
            keys = new[..., prefix:].unflatten(-1, grid)
            mixed = convolve_maps(keys, self.intra.weight, self.intra.bias).flatten(3)
            new = torch.cat([new[..., :prefix], mixed], -1) if prefix else mixed
        if self.maps != "across_within":
            new = self._across(new)
        return torch.cat([scores, new], 1)

    def _across(self, x: Tensor) -> Tensor:
        """``[B, real, ...] -> [B, hallucinated, ...]``."""
        if self.cross is not None:
            return mix_maps(x, self.cross)
        times = -(-self.hallucinated // x.shape[1])
        return x.repeat(1, times, 1, 1)[:, : self.hallucinated]


class HallucinatedHeads(nn.Module):
    """Base of multi-head attention with half of its maps hallucinated.

    Only real heads have queries and keys: half as many channels. Values, softmax and output are
    those of ordinary attention. Values of all heads have ``inner`` channels, by default ``dim``;
    ``prefix`` class tokens come before those of the grid.

    References:
        arXiv:2306.10875. It leaves the grid of the keys, class tokens, odd numbers of heads and
        biases open; those are ours.
    """

    def __init__(
        self,
        dim: int,
        split: tuple[int, int],
        *,
        inner: int | None = None,
        prefix: int = 0,
        qkv_bias: bool = True,
        maps: Maps = "within_across",
    ) -> None:
        super().__init__()
        inner = dim if inner is None else inner
        self.heads, self.real = split
        self.prefix = prefix
        self.head_dim = inner // self.heads
        self.q = nn.Linear(dim, self.real * self.head_dim, bias=qkv_bias)
        self.k = nn.Linear(dim, self.real * self.head_dim, bias=qkv_bias)
        self.v = nn.Linear(dim, inner, bias=qkv_bias)
        new = self.heads - self.real
        self.hallucinate = MapHallucination(self.real, new, maps) if new else None
        self.attn_drop: nn.Module = nn.Identity()
        self.proj = nn.Linear(inner, dim)
        self.proj_drop: nn.Module = nn.Identity()
        for linear in (self.q, self.k, self.v, self.proj):
            init_weights(linear)

    def attend(self, x: Tensor, grid: Grid, sources: Tensor | None = None) -> Tensor:
        """``[..., N, dim] -> [..., N, dim]``."""
        sources = x if sources is None else sources
        q, k = self._by_head(self.q(x), self.real), self._by_head(self.k(sources), self.real)
        v = self._by_head(self.v(sources), self.heads)
        scores = (q * self.head_dim**-0.5) @ k.transpose(-1, -2)
        if self.hallucinate is not None:
            scores = self.hallucinate(scores, grid, self.prefix)
        maps = scores.softmax(dim=-1)
        mixed = (self.attn_drop(maps) @ v).transpose(1, 2).reshape(*x.shape[:-1], -1)
        return cast("Tensor", self.proj_drop(self.proj(mixed)))

    def _by_head(self, x: Tensor, heads: int) -> Tensor:
        """``[..., tokens, heads * head_dim] -> [lists, heads, tokens, head_dim]``."""
        return x.reshape(-1, x.shape[-2], heads, self.head_dim).transpose(1, 2)


def convolve_maps(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``[B, heads, lists, h, w] -> [B, heads, lists, h, w]``, each grid padded with zeros.

    All grids of an image are channels of one depthwise convolution. With heads as channels and
    grids as batch, it would take ten times as long on a CPU, which works on 16 channels at a time.
    There is one kernel per head, ``[heads, 1, k, k]`` with an odd k.
    """
    if has_torch_function((x, weight)):  # a mode that follows weights intercepts this as one call
        result: Tensor = handle_torch_function(convolve_maps, (x, weight), x, weight, bias)
        return result
    heads, lists = x.shape[1:3]
    kernels = weight[:, None].expand(-1, lists, -1, -1, -1).flatten(0, 1)
    offsets = None if bias is None else bias[:, None].expand(-1, lists).flatten()
    padding = (weight.shape[2] // 2, weight.shape[3] // 2)
    groups = heads * lists
    out = F.conv2d(x.flatten(1, 2), kernels, offsets, padding=padding, groups=groups)
    return cast("Tensor", out.unflatten(1, (heads, lists)))


def mix_maps(x: Tensor, cross: nn.Conv2d) -> Tensor:
    """``[B, real, N, M] -> [B, hallucinated, N, M]`` by a 1 × 1 convolution.

    One map made of one is a product with a number. As a convolution, its weight's gradient takes
    cuDNN 97 ms for a batch of 128 in PVTv2-B1 (the product 0.5, H200), and the convolution takes
    oneDNN 45 times as long as the product for maps of 197 × 197.
    """
    weight, bias = cross.weight, cross.bias
    # What counts, on the meta device, or follows weights is to see a convolution.
    if weight.shape[:2] != (1, 1) or x.is_meta or has_torch_function((x, weight)):
        return cast("Tensor", cross(x))
    weight = weight.to(x.dtype)  # as autocast would have it
    return x * weight if bias is None else torch.addcmul(bias.to(x.dtype), x, weight)


def _map_use(x: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, WeightUse] | None:
    """:func:`convolve_maps` as a convolution of ``B * lists`` grids with heads as channels."""
    padding = (weight.shape[2] // 2, weight.shape[3] // 2)
    weight_use = convolution_use(_grids_first(x), weight, padding=padding, groups=x.shape[1])
    if weight_use is None:
        return None
    use = weight_use[1]

    def gradient(grads: Tensor, rows: slice, samples: int) -> Tensor:
        return use.gradient(_grids_first(grads), rows, samples)

    return weight, replace(use, gradient=gradient)


def _grids_first(x: Tensor) -> Tensor:
    """``[B, heads, lists, h, w] -> [B * lists, heads, h, w]``."""
    return x.transpose(1, 2).flatten(0, 1)


cast("dict[Callable[..., Tensor], Any]", RULES)[convolve_maps] = _map_use


class TokenGrid:
    """Rows and columns of the tokens in one part of a network, for the image of the last pass."""

    def __init__(self, grid: Grid | None = None) -> None:
        self.grid = grid

    # Hooks are methods, not closures, so that a deep copy of a network gets its own grids.

    def shape(self, tokens: int) -> Grid:
        """Rows and columns of this many tokens."""
        if self.grid is None or math.prod(self.grid) != tokens:
            raise ValueError(
                f"{tokens} tokens are not on the grid {self.grid}; run the whole network, which "
                "records it"
            )
        return self.grid

    def record_channels_first(self, module: nn.Module, args: Any, output: Tensor) -> None:
        """Forward hook of a module with output ``[B, channels, h, w]``."""
        self.grid = (output.shape[2], output.shape[3])

    def record_tokens(self, module: nn.Module, args: Any, output: Tensor) -> None:
        """Forward hook of timm's patch embedding: output ``[B, h, w, dim]``, or a list."""
        sides = output.shape[1:3] if output.ndim == 4 else cast("Grid", module.grid_size)
        self.grid = (sides[0], sides[1])


def nominal_grid(tokens: int) -> Grid:
    """The most nearly square grid of this many tokens, with at least as many rows as columns."""
    columns = next(n for n in range(int(tokens**0.5), 0, -1) if tokens % n == 0)
    return tokens // columns, columns


class HallucinatedTokenAttention(HallucinatedHeads):
    """Replaces the attention of timm's vision transformers, such as DeiT."""

    token_grid: TokenGrid

    def forward(
        self, x: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False
    ) -> Tensor:
        """``[..., prefix + N, dim] -> [..., prefix + N, dim]``."""
        if attn_mask is not None or is_causal:
            raise ValueError("hallucinated attention takes no mask; it mixes all scores")
        return self.attend(x, self.token_grid.shape(x.shape[-2] - self.prefix))


class HallucinatedPyramidAttention(HallucinatedHeads):
    """Replaces the attention of PVTv2, where a strided convolution reduces the keys."""

    sr: nn.Module | None
    norm: nn.Module | None

    def forward(self, x: Tensor, feat_size: Grid) -> Tensor:
        """``[B, h * w, dim] -> [B, h * w, dim]``."""
        if self.sr is None or self.norm is None:
            return self.attend(x, (feat_size[0], feat_size[1]))
        image = self.sr(x.transpose(1, 2).unflatten(2, (feat_size[0], feat_size[1])))
        sources = self.norm(image.flatten(2).transpose(1, 2))
        return self.attend(x, (image.shape[2], image.shape[3]), sources)


class HallucinatedPooledAttention(HallucinatedHeads):
    """Replaces that of Next-ViT, whose keys, means of listed tokens, are taken to be a grid."""

    sr: nn.Module | None
    norm: nn.Module | None
    sr_ratio: int
    token_grid: TokenGrid

    def forward(self, x: Tensor) -> Tensor:
        """``[B, h * w, dim] -> [B, h * w, dim]``."""
        rows, columns = self.token_grid.shape(x.shape[1])
        if self.sr is None or self.norm is None:
            return self.attend(x, (rows, columns))
        sources = self.norm(self.sr(x.transpose(1, 2))).transpose(1, 2)
        grid, keys = (rows // self.sr_ratio, columns // self.sr_ratio), sources.shape[1]
        return self.attend(x, grid if math.prod(grid) == keys else nominal_grid(keys), sources)


def hallucinate(model: nn.Module, heads: HeadRule, kept: float, maps: Maps) -> bool:
    """Replace every supported attention in a network or a part of one; False if there is none."""
    places = [place for place in _places(model) if not isinstance(place.old, HallucinatedHeads)]
    if heads == "double_odd" and any(place.old.num_heads % 2 for place in places):
        heads = "double"
    for place in places:
        setattr(place.parent, place.name, _hallucinated(place, heads, kept, maps))
    return bool(places)


class _Place(NamedTuple):
    """An attention in a network and what replaces it."""

    parent: Any
    name: str
    kind: type[HallucinatedHeads]
    values: str  # its linear map whose last channels are values, after queries and keys
    parts: dict[str, Any]  # further attributes of the new one

    @property
    def old(self) -> Any:
        return getattr(self.parent, self.name)


def _places(model: nn.Module) -> Iterator[_Place]:
    for module in list[Any](model.modules()):
        if isinstance(module, VisionTransformer):
            grid = TokenGrid(tuple(module.patch_embed.grid_size))
            module.patch_embed.register_forward_hook(grid.record_tokens)
            parts = {"prefix": module.num_prefix_tokens, "token_grid": grid}
            for block in module.blocks:
                yield _Place(block, "attn", HallucinatedTokenAttention, "qkv", parts)
        elif isinstance(module, PyramidBlock):
            parts = {name: getattr(module.attn, name) for name in ("sr", "norm")}
            yield _Place(module, "attn", HallucinatedPyramidAttention, "kv", parts)
        elif isinstance(module, NextTransformerBlock):
            grid = TokenGrid()
            module.patch_embed.register_forward_hook(grid.record_channels_first)
            parts = {name: getattr(module.e_mhsa, name) for name in ("sr", "norm", "sr_ratio")}
            parts["token_grid"] = grid
            yield _Place(module, "e_mhsa", HallucinatedPooledAttention, "v", parts)


@torch.no_grad()
def _hallucinated(place: _Place, heads: HeadRule, kept: float, maps: Maps) -> HallucinatedHeads:
    """A hallucinated attention with the values, output map and dropout of the old one."""
    old, parts = place.old, dict(place.parts)
    if not _is_plain(old):
        raise ValueError(
            f"{type(old).__name__} has more than queries, keys and values in it, or linear "
            "attention; only plain attention can be replaced"
        )
    values = getattr(old, place.values)
    inner, bias = old.proj.in_features, values.bias is not None
    split = split_heads(old.num_heads, heads, kept)
    if inner % split[0]:
        raise ValueError(
            f"{split[0]} heads in place of {old.num_heads} do not divide {inner} channels; use "
            "a network with an even number of heads or channels"
        )
    sizes: Any = {"inner": inner, "prefix": parts.pop("prefix", 0), "qkv_bias": bias}
    attention = place.kind(values.in_features, split, **sizes, maps=maps)
    attention.proj = old.proj
    attention.attn_drop = getattr(old, "attn_drop", attention.attn_drop)
    attention.proj_drop = getattr(old, "proj_drop", attention.proj_drop)
    attention.to(values.weight)
    attention.v.weight.copy_(values.weight[-inner:])
    if bias:
        attention.v.bias.copy_(values.bias[-inner:])
    for name, part in parts.items():
        setattr(attention, name, part)
    return attention.train(old.training)


def _is_plain(old: Any) -> bool:
    """Whether timm's attention uses none of its options."""
    if isinstance(old, TokenAttention):
        norms = (old.q_norm, old.k_norm, old.norm)
        return old.gate is None and all(isinstance(norm, nn.Identity) for norm in norms)
    return isinstance(old, NextAttention | PyramidAttention) and getattr(old, "pool", None) is None

"""The As-ViT network and its layers, its cost by formulas, and its sizes in timm's registry."""

from collections.abc import Iterable
from itertools import pairwise
from typing import Any, cast

import torch
from timm.layers import DropPath, Mlp, to_2tuple, trunc_normal_
from torch import Tensor, nn
from torch.nn import functional as F

from asvit.architectures.genotype import STEM_STRIDE, Genotype
from asvit.models.blocks import (
    BlockStage,
    SelfAttention,
    StagedNetwork,
    check_batch,
    deep_stem_widths,
    drop_path_rates,
    init_by_width,
    make_stem,
    positions_on,
    register_networks,
    stem_width,
)
from proxies.counts import Cost

__all__ = ["SIZES", "AsViT", "asvit_cost"]


class AsViT(StagedNetwork):
    """Vision transformer with a pyramid of four stages, built from an architecture text.

    Sides of images must be multiples of 4, and the splits of every stage must divide its tokens;
    multiples of 32 always fit. Arguments and methods follow timm. Parameter names are those of the
    released As-ViT code, whose state dicts load with ``strict=True``.

    Args:
        genotype: The architecture, or its text.
        img_size: Side of the images in pixels, or (height, width). Embeddings of positions are
            learned for its tokens, and resampled for images of other sizes.
        in_chans: Channels of the images.
        num_classes: Classes; with 0 there is no head and the output is the pooled features.
        global_pool: ``"avg"`` for the mean over tokens, ``""`` for none.
        drop_rate: Dropout before the head.
        drop_path_rate: Drop-path probability of the last block, on a linear ramp from 0.

    Raises:
        ValueError: If the text is not an architecture, or does not fit ``img_size``.

    References:
        Chen et al. 2022, "Auto-scaling Vision Transformers without Training", arXiv:2202.11921.
    """

    def __init__(
        self,
        genotype: Genotype | str,
        *,
        img_size: int | tuple[int, int] = 224,
        in_chans: int = 3,
        num_classes: int = 1000,
        global_pool: str = "avg",
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        g = Genotype.parse(genotype) if isinstance(genotype, str) else genotype
        for side in to_2tuple(img_size):
            g.token_sides(side)
        super().__init__(g.stage_widths, (4, 8, 16, 32))
        self.genotype = g
        self.weights_suit_width = g.init == "width"
        self.patch_embed = PatchEmbedding(in_chans, g.width, g.kernels[0], g.stem)
        self.absolute_pos_embed: nn.Parameter | None = None
        if g.positions == "absolute":
            rows, columns = (side // STEM_STRIDE for side in to_2tuple(img_size))
            self.grid = (rows, columns)
            self.absolute_pos_embed = nn.Parameter(torch.zeros(1, rows * columns, g.width))
            trunc_normal_(self.absolute_pos_embed, std=0.02)
        self.layers = nn.ModuleList(_make_stages(g, drop_path_rate))
        self._add_head(nn.LayerNorm(self.num_features), num_classes, global_pool, drop_rate)

    def get_classifier(self) -> nn.Module:
        """The last linear map, or the identity when there are no classes."""
        return self.head[-1] if isinstance(self.head, nn.Sequential) else self.head

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the classifier by a new one; the hidden layer of the head stays."""
        before = self.head
        super().reset_classifier(num_classes, global_pool)
        if isinstance(self.head, nn.Sequential) and isinstance(before, nn.Sequential):
            self.head[0] = before[0]

    def no_weight_decay(self) -> set[str]:
        """Names of parameters without weight decay, besides those of timm's own rule."""
        return set() if self.absolute_pos_embed is None else {"absolute_pos_embed"}

    def _embed(self, image: Tensor) -> Tensor:
        """``[B, in_chans, H, W] -> [B, H/4, W/4, width]``."""
        check_batch(image)
        for side in image.shape[2:]:
            self.genotype.token_sides(side)
        x: Tensor = self.patch_embed(image)
        if self.absolute_pos_embed is None:
            return x
        grid = (x.shape[1], x.shape[2])
        positions = positions_on(grid, self.absolute_pos_embed, self.grid)
        return x + cast("Tensor", positions.unflatten(1, grid))

    def _as_map(self, x: Tensor, image: Tensor) -> Tensor:
        return x.permute(0, 3, 1, 2)

    def _as_features(self, x: Tensor) -> Tensor:
        return x.flatten(1, 2)

    def _pool(self, x: Tensor) -> Tensor:
        return x.mean(dim=1) if self.global_pool == "avg" else x

    def _make_head(self, num_classes: int) -> nn.Module:
        dim = self.num_features
        if num_classes == 0:
            return nn.Identity()
        if self.genotype.head == "linear":
            return nn.Linear(dim, num_classes)
        return nn.Sequential(nn.Linear(dim, dim), nn.Tanh(), nn.Linear(dim, num_classes))

    def _init_weights(self, module: nn.Module) -> None:
        if self.weights_suit_width:
            init_by_width(module)
        else:
            super()._init_weights(module)


def _make_stages(g: Genotype, drop_path_rate: float) -> Iterable[nn.Module]:
    rates = drop_path_rates(drop_path_rate, g.depths)
    for i, own_rates in enumerate(rates):
        dim = g.stage_widths[i]
        downsample: nn.Module = nn.Identity()
        if i < 3:
            downsample = ReEmbedding(dim, g.stage_widths[i + 1], g.kernels[i + 1])
        sizes = dim, g.stage_heads[i], g.expansions[i] * dim
        mixing = g.mixing == "ffn"
        blocks = [Block(*sizes, drop_path=rate, mixing=mixing) for rate in own_rates]
        yield Stage(blocks, g.splits[i], downsample, mixing=mixing)


def same_padding(kernel: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    """Zeros before and after a side that the stride divides, as TensorFlow's SAME has them."""
    zeros = max(0, (kernel - 1) * dilation + 1 - stride)
    return zeros // 2, zeros - zeros // 2


class PatchEmbedding(nn.Module):
    """The stem, then a norm."""

    def __init__(self, channels: int, dim: int, kernel: int, stem: str = "patch") -> None:
        super().__init__()
        self.proj = make_stem(stem, channels, dim, kernel)
        self.norm = nn.LayerNorm(dim)

    def forward(self, image: Tensor) -> Tensor:
        """``[B, channels, 4h, 4w] -> [B, h, w, dim]``; fewer tokens at a coarser stride."""
        x = self.proj(image)
        # Contiguous even if the norm is replaced by a module that does not copy.
        return cast("Tensor", self.norm(x.permute(0, 2, 3, 1).contiguous()))


class ReEmbedding(nn.Module):
    """Halves the sides of the grid: each new token is a map of a patch of tokens."""

    stride = 2

    def __init__(self, dim: int, out_dim: int, kernel: int) -> None:
        super().__init__()
        self.kernel = kernel
        self.padding = same_padding(kernel, self.stride)
        self.norm = nn.LayerNorm(kernel**2 * dim)
        self.reduction = nn.Linear(kernel**2 * dim, out_dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, H, W, dim] -> [B, H/2, W/2, out_dim]``, sides rounded up."""
        return cast("Tensor", self.reduction(self.norm(self.patches(x))))

    def patches(self, x: Tensor) -> Tensor:
        """``[B, H, W, dim] -> [B, H/2, W/2, dim * kernel**2]``, in the order of ``F.unfold``."""
        height, width = x.shape[1:3]
        before, after = self.padding
        x = F.pad(x, (0, 0, before, after + width % 2, before, after + height % 2))
        offsets = range(self.kernel)
        # Faster than F.unfold on a CPU, and its gradients add in a fixed order on every device.
        x = torch.stack([x[:, i : i + height : self.stride] for i in offsets], dim=-1)
        x = torch.stack([x[:, :, j : j + width : self.stride] for j in offsets], dim=-1)
        return x.flatten(3)  # [B, h, w, dim, kernel, kernel] before


def fitting_splits(splits: int, height: int, width: int) -> int:
    """The largest divisor of both sides of a grid that is at most ``splits``."""
    return next(n for n in range(splits, 0, -1) if height % n == 0 and width % n == 0)


def split_windows(x: Tensor, splits: int) -> Tensor:
    """``[B, h, w, dim] -> [B, splits**2, tokens, dim]``; the batch stays first."""
    batch, height, width, dim = x.shape
    if splits == 1:
        return x.flatten(1, 2).unsqueeze(1)
    x = x.reshape(batch, splits, height // splits, splits, width // splits, dim)
    return x.transpose(2, 3).reshape(batch, splits**2, -1, dim)


def join_windows(x: Tensor, splits: int, height: int, width: int) -> Tensor:
    """Inverse of :func:`split_windows`: ``[B, splits**2, tokens, dim] -> [B, h, w, dim]``."""
    batch, _, _, dim = x.shape
    if splits == 1:
        return x.reshape(batch, height, width, dim)
    x = x.reshape(batch, splits, splits, height // splits, width // splits, dim)
    return x.transpose(2, 3).reshape(batch, height, width, dim)


class Block(nn.Module):
    """Pre-norm transformer block: attention in windows, then the feed-forward part.

    With ``mixing``, a depthwise convolution in that part mixes neighbours across windows, so that
    tokens come as a grid: Wang et al. 2021, PVTv2, arXiv:2106.13797.
    """

    def __init__(
        self, dim: int, heads: int, hidden: int, *, drop_path: float = 0.0, mixing: bool = False
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = SelfAttention(dim, heads)
        feed_forward = (GridMlp if mixing else Mlp)(dim, hidden)
        # The nesting matches the parameter names of the released code.
        self.mlps = nn.ModuleList([nn.Sequential(nn.LayerNorm(dim), feed_forward)])
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()
        self.inner = depthwise(hidden) if mixing else None

    def forward(self, x: Tensor, splits: int = 1) -> Tensor:
        """``[B, windows, tokens, dim]`` or, with mixing, ``[B, h, w, dim]``, to the same shape."""
        if self.inner is None:
            x = x + self.drop_path(self.attn(self.norm1(x)))
            return cast("Tensor", x + self.drop_path(self.mlps[0](x)))
        mixed = self.attn(split_windows(self.norm1(x), splits))
        x = x + self.drop_path(join_windows(mixed, splits, *x.shape[1:3]))
        norm, mlp = cast("Any", self.mlps[0])
        return cast("Tensor", x + self.drop_path(mlp(norm(x), self.inner)))


class GridMlp(Mlp):  # type: ignore[misc]
    """A feed-forward part of a grid of tokens, with a convolution before its activation."""

    def forward(self, x: Tensor, inner: nn.Module) -> Tensor:
        """``[B, h, w, dim] -> [B, h, w, dim]``; ``inner`` takes ``[B, hidden, h, w]``."""
        hidden = inner(self.fc1(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return cast("Tensor", self.fc2(self.act(hidden)))


def depthwise(dim: int) -> nn.Conv2d:
    """A 3 x 3 convolution of each channel by itself, which begins near the identity."""
    convolution = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)
    nn.init.normal_(convolution.weight, std=0.02)
    with torch.no_grad():
        convolution.weight[:, :, 1, 1] += 1
        cast("Tensor", convolution.bias).zero_()
    return convolution


class Stage(BlockStage):
    """Blocks at one width with ``splits`` windows per side, and the re-embedding after them."""

    def __init__(
        self, blocks: Iterable[nn.Module], splits: int, downsample: nn.Module, *, mixing: bool
    ) -> None:
        super().__init__(blocks, downsample)
        self.splits = splits
        self.mixing = mixing

    def forward(self, x: Tensor) -> Tensor:
        """``[B, h, w, dim] -> [B, h, w, dim]``."""
        height, width = x.shape[1:3]  # of coarser tokens, perhaps, with fewer windows
        splits = fitting_splits(self.splits, height, width)
        if self.mixing:
            return self.run(x, splits=splits)
        # Windows do not shift, so one reordering per stage is enough.
        return join_windows(self.run(split_windows(x, splits)), splits, height, width)


def asvit_cost(g: Genotype, image_size: int, num_classes: int, in_chans: int = 3) -> Cost:
    """Parameters and multiply-adds of an :class:`AsViT` on one square image, by formulas."""
    return sum(asvit_stage_costs(g, image_size, num_classes, in_chans), Cost(0, 0))


def asvit_stage_costs(g: Genotype, image_size: int, classes: int, in_chans: int = 3) -> list[Cost]:
    """Those of each stage, with the embedding before it, and of the head with its norm."""
    sides, widths = g.token_sides(image_size), g.stage_widths
    costs = []
    for i, side in enumerate(sides):
        block, patch = _block_cost(g, i, side), widths[i - 1] * g.kernels[i] ** 2
        before = _norm(patch) + _map(patch, widths[i], side**2, bias=False)
        embedding = before if i else _stem_cost(g, side, in_chans)
        costs.append(Cost(g.depths[i] * block.params, g.depths[i] * block.macs) + embedding)
    return [*costs, _norm(widths[-1]) + _head_cost(g, classes)]


def _stem_cost(g: Genotype, side: int, in_chans: int) -> Cost:
    """Of what leads from an image to ``side**2`` tokens, with the norm and positions."""
    dim, tokens = g.width, side**2
    cost = _norm(dim) + Cost(tokens * dim if g.positions == "absolute" else 0, 0)
    if g.stem == "patch":
        return cost + _map(in_chans * g.kernels[0] ** 2, dim, tokens)
    hidden = deep_stem_widths(dim) if g.stem == "deep" else (stem_width(dim),)
    for before, after in pairwise((in_chans, *hidden)):
        cost += _map(9 * before, after, 4 * tokens, bias=False) + _norm(after)
    return cost + _map((1 if g.stem == "deep" else 9) * hidden[-1], dim, tokens)


def _block_cost(g: Genotype, stage: int, side: int) -> Cost:
    """Of a block of a stage, counted from 0, on ``side**2`` tokens."""
    dim, heads = g.stage_widths[stage], g.stage_heads[stage]
    tokens, window = side**2, side // g.splits[stage]
    inner, hidden = dim - dim % heads, g.expansions[stage] * dim
    cost = _map(dim, 3 * inner, tokens) + Cost(0, 2 * tokens * window**2 * inner)
    cost += _map(inner, dim, tokens) + _map(dim, hidden, tokens) + _map(hidden, dim, tokens)
    cost += _norm(2 * dim)
    return cost if g.mixing == "none" else cost + _map(9, hidden, tokens)


def _head_cost(g: Genotype, num_classes: int) -> Cost:
    dim = g.stage_widths[-1]
    if num_classes == 0:
        return Cost(0, 0)
    hidden = _map(dim, dim, 1) if g.head == "mlp" else Cost(0, 0)
    return hidden + _map(dim, num_classes, 1)


def _map(inputs: int, outputs: int, positions: int, *, bias: bool = True) -> Cost:
    """Of a linear map or convolution that makes each output of so many inputs."""
    return Cost((inputs + bias) * outputs, positions * inputs * outputs)


def _norm(width: int) -> Cost:
    """Of a norm with a gain and an offset for each of ``width`` channels."""
    return Cost(2 * width, 0)


#: Name in timm -> architecture. The seed is the published result of the search, and the sizes are
#: grown from it. Depths and widths of Small and Base are inferred from published counts.
SIZES = {
    "asvit_seed": "8,2,3|4,1,2|4,1,4|4,1,6|32",
    "asvit_small": "8,2,3,3|4,1,2,1|4,1,4,4|4,1,6,2|32,88",
    "asvit_base": "8,2,3,3|4,1,2,1|4,1,4,5|4,1,6,2|32,116",
    "asvit_large": "8,2,3,5|4,1,2,2|4,1,4,5|4,1,6,2|32,180",
}

register_networks(
    __name__,
    AsViT,
    {name: {"genotype": text} for name, text in SIZES.items()},
    classifier="head.2",
    paper_ids="arXiv:2202.11921",
    paper_name="Auto-scaling Vision Transformers without Training",
)

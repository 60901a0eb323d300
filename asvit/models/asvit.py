"""The As-ViT network and its four published sizes in timm's registry."""

from collections.abc import Iterable
from typing import Any, cast

from timm.layers import LayerNorm2d
from torch import Tensor, nn

from asvit.architectures.genotype import Genotype
from asvit.models._registration import register_networks
from asvit.models._staged import StagedNetwork, check_batch, drop_path_rates
from asvit.models.layers.asvit import (
    Block,
    ConvolutionalStem,
    LocalBlock,
    PatchEmbedding,
    ReEmbedding,
    Stage,
    stem_width,
)
from asvit.models.layers.blocks import SelfAttention, init_mimetic
from proxies.counts import Cost

__all__ = ["SIZES", "AsViT", "asvit_cost"]


class AsViT(StagedNetwork):
    """Vision transformer with a pyramid of four stages, built from an architecture text.

    Height and width of an image may differ. Both must be multiples of 4, and the splits of every
    stage must divide its tokens; multiples of 32 always fit. Arguments and methods follow timm.
    Parameter names are those of the released As-ViT code, whose state dicts load with
    ``strict=True``.

    Args:
        genotype: The architecture, or its text.
        img_size: Side of the images in pixels, or (height, width); only checked.
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
        for side in (img_size,) if isinstance(img_size, int) else img_size:
            g.token_sides(side)
        super().__init__(g.stage_widths, (4, 8, 16, 32))
        self.genotype = g
        self.weights_suit_width = g.parts.init != "0.02"
        norms = {"conv": nn.BatchNorm2d, "conv-ln": LayerNorm2d}
        if g.parts.stem in norms:
            self.patch_embed = ConvolutionalStem(in_chans, g.width, norms[g.parts.stem])
        else:
            self.patch_embed = PatchEmbedding(in_chans, g.width, g.kernels[0])
        side = img_size if isinstance(img_size, int) else img_size[0]
        self.layers = nn.ModuleList(_make_stages(g, drop_path_rate, side))
        self._add_head(nn.LayerNorm(self.num_features), num_classes, global_pool, drop_rate)

    def get_classifier(self) -> nn.Module:
        """The last linear map, or the identity when there are no classes."""
        return self.head[-1] if isinstance(self.head, nn.Sequential) else self.head

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the classifier by a newly initialised one; the hidden layer of the head stays.

        With 0 classes it goes, too.
        """
        before = self.head
        super().reset_classifier(num_classes, global_pool)
        if isinstance(self.head, nn.Sequential) and isinstance(before, nn.Sequential):
            self.head[0] = before[0]

    def _embed(self, image: Tensor) -> Tensor:
        """``[B, in_chans, H, W] -> [B, H/4, W/4, width]``."""
        check_batch(image)
        for side in image.shape[2:]:
            self.genotype.token_sides(side)
        return cast("Tensor", self.patch_embed(image))

    def _as_map(self, x: Tensor, image: Tensor, output_fmt: str) -> Tensor:
        return x if output_fmt == "NHWC" else x.permute(0, 3, 1, 2)

    def _as_features(self, x: Tensor) -> Tensor:
        return x.flatten(1, 2)

    def _pool(self, x: Tensor) -> Tensor:
        return x.mean(dim=1) if self.global_pool == "avg" else x

    def _make_head(self, num_classes: int) -> nn.Module:
        dim = self.num_features
        if num_classes == 0:
            return nn.Identity()
        if self.genotype.parts.head == "linear":
            return nn.Linear(dim, num_classes)
        return nn.Sequential(nn.Linear(dim, dim), nn.Tanh(), nn.Linear(dim, num_classes))

    def _init_weights(self, module: nn.Module) -> None:
        init = self.genotype.parts.init
        if init == "0.02":
            super()._init_weights(module)
        elif isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, SelfAttention) and init == "mimetic":
            init_mimetic(module)


def _make_stages(g: Genotype, drop_path_rate: float, side: int) -> Iterable[Stage]:
    p = g.parts
    options: dict[str, Any] = {"scale": None if p.scale == "none" else float(p.scale)}
    sides = g.token_sides(side)
    for i, rates in enumerate(drop_path_rates(drop_path_rate, g.depths)):
        dim = g.stage_widths[i]
        hidden = g.expansions[i] * dim
        sizes = dim, g.stage_heads[i], hidden
        if p.positions == "bias":
            options["window"] = sides[i] // g.splits[i]
        local = p.mixing != "none"
        blocks = [
            LocalBlock(*sizes, g.splits[i], p.mixing, drop_path=rate, **options)
            if local
            else Block(*sizes, drop_path=rate, **options)
            for rate in rates
        ]
        downsample: nn.Module = nn.Identity()
        if i < 3:
            downsample = ReEmbedding(dim, g.stage_widths[i + 1], g.kernels[i + 1])
        yield Stage(blocks, 0 if local else g.splits[i], downsample)


def asvit_cost(g: Genotype, image_size: int, num_classes: int) -> Cost:
    """Parameters and multiply-adds of an :class:`AsViT` on one square image, by formulas.

    The same as :func:`proxies.counts.count` of the network, in a thousandth of the time.
    """
    p = g.parts
    params = macs = 0
    dims = (3, *g.stage_widths)
    for i, side in enumerate(g.token_sides(image_size)):
        dim, patch, tokens = dims[i + 1], dims[i] * g.kernels[i] ** 2, side**2
        inner, hidden = dim - dim % g.stage_heads[i], g.expansions[i] * dim
        weights = dim * (4 * inner + 2 * hidden)  # of attention and feed-forward part
        biases = 3 * inner + hidden + 2 * dim
        window = tokens // g.splits[i] ** 2
        mixed = 10 * dim * (p.mixing in ("block", "both")) + 10 * hidden * (
            p.mixing in ("ffn", "both")
        )
        positions = 0
        if p.positions == "bias":
            positions = (2 * side // g.splits[i] - 1) ** 2 * g.stage_heads[i]
        extra = mixed + positions + (2 * dim if p.scale != "none" else 0)
        # The stem has a bias and a norm of its channels, the others a norm of their patches.
        params += patch * dim + (2 * patch if i else 3 * dim)
        if not i and p.stem != "patch":
            hidden_stem = stem_width(dim)
            patch = 9 * hidden_stem + 4 * 27 * hidden_stem / dim
            params += (
                int(9 * hidden_stem * dim + 27 * hidden_stem + 2 * hidden_stem)
                - dims[0] * g.kernels[0] ** 2 * dim
            )
        params += g.depths[i] * (weights + biases + extra + 4 * dim)  # 4: two norms
        macs += round(
            tokens * (patch * dim + g.depths[i] * (weights + mixed * 9 // 10 + 2 * window * inner))
        )
    head = [(dim, dim), (dim, num_classes)] if num_classes else []
    if p.head == "linear":
        head = head[1:]
    params += 2 * dim + sum((before + 1) * after for before, after in head)
    return Cost(params, macs + sum(before * after for before, after in head))


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

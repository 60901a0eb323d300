"""PiT and AutoFormer from texts, as ViT-Bench-101 trained them; reference tables have these."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Final

import numpy as np
from timm.layers import Attention
from timm.models.pit import PoolingVisionTransformer
from timm.models.vision_transformer import Block, VisionTransformer
from torch import nn

from asvit.architectures.base import Field, Limits, TextArchitecture
from asvit.spaces.base import Family, size_features, stage_features
from proxies.text import one_line

PATCH: Final = 16  # pixels per side of a patch, in both families
PIT_STRIDE: Final = 8  # pixels from one patch of a PiT to the next
PIT_STAGES: Final = 3
_THREE: Final = range(PIT_STAGES, PIT_STAGES + 1)
_THIRDS: Final = 3  # groups of blocks of an AutoFormer

#: Wide limits that catch typos before they exhaust memory.
_WIDTHS: Final = range(1, 4097)
_COUNTS: Final = range(1, 257)
_RATIOS: Final = Limits(0.125, 64)


class _Patches(TextArchitecture):
    """Base of the architectures."""

    def check(self, image_size: int) -> None:
        """Refuse images below a patch; a partial one at the edge of an image is cut off."""
        if image_size < PATCH:
            raise ValueError(
                f"{one_line(str(self))} cannot take {image_size} px: a patch has {PATCH}; "
                "use a larger image"
            )


@dataclass(frozen=True)
class PitArchitecture(_Patches):
    """``pit:BASE_DIM,MLP_RATIO|D1,D2,D3|H1,H2,H3``: a PiT, arXiv:2103.16302."""

    prefix: ClassVar[str] = "pit:"
    form: ClassVar[str] = "pit:BASE_DIM,MLP_RATIO|D1,D2,D3|H1,H2,H3, as in pit:32,4|2,6,4|2,4,8"
    fields: ClassVar[Mapping[str, Field]] = {
        "base_dim": Field("base_dim", _WIDTHS),
        "mlp_ratio": Field("mlp_ratio", _RATIOS),
        "depths": Field("depth", _COUNTS, _THREE),
        "heads": Field("heads", _COUNTS, _THREE),
    }
    layout: ClassVar[str] = "base_dim,mlp_ratio|depths|heads"

    base_dim: int  # channels of an attention head; a stage has ``base_dim`` times its heads
    mlp_ratio: float  # hidden width of the feed-forward part over the width of the stage
    depths: tuple[int, ...]  # blocks in each of the three stages
    heads: tuple[int, ...]  # attention heads of each stage, a multiple of those of the one before

    def __post_init__(self) -> None:
        super().__post_init__()
        for before, after in pairwise(self.heads):
            if after % before:
                raise ValueError(
                    f"{self}: {after} heads after {before}; use a multiple of {before}"
                )


class Pit(Family):
    """PiTs, which timm builds."""

    name, prefix, architecture = "pit", PitArchitecture.prefix, PitArchitecture

    def features(self, arch: PitArchitecture) -> dict[str, float]:
        """Ratio, blocks and logarithms of the heads by stage, and of the channels of a head."""
        return {
            **size_features(sum(arch.depths), arch.base_dim * arch.heads[0]),
            "head width": math.log2(arch.base_dim),
            "ratio": arch.mlp_ratio,
            **stage_features("blocks", arch.depths),
            **stage_features("heads", map(math.log2, arch.heads)),
        }

    def make_network(self, arch: PitArchitecture, image_size: int, **options: Any) -> nn.Module:
        shape = {"depth": arch.depths, "heads": arch.heads, "mlp_ratio": arch.mlp_ratio}
        patches = {"img_size": image_size, "patch_size": PATCH, "stride": PIT_STRIDE}
        dims = (arch.base_dim,) * PIT_STAGES
        network: nn.Module = PoolingVisionTransformer(
            base_dims=dims, **shape, **patches, **options
        )
        return network


@dataclass(frozen=True)
class AutoFormerArchitecture(_Patches):
    """``autoformer:WIDTH,HEAD|H1,H2,...|R1,R2,...``: a vision transformer, arXiv:2107.00651.

    HEAD is the width of a head, 64 in the AutoFormer paper: queries, keys and values are HEAD
    times the heads wide. Without it they have the width of the network, as in ViT-Bench-101,
    arXiv:2312.09059, whose feature it has, too: the mean of the patch tokens. Relative positions
    are not built.
    """

    prefix: ClassVar[str] = "autoformer:"
    form: ClassVar[str] = (
        "autoformer:WIDTH|H1,H2,...|R1,R2,..., as in autoformer:192|3,4|3.5,4, or with the width "
        "of a head, autoformer:448,64|6,5|4,3"
    )
    fields: ClassVar[Mapping[str, Field]] = {
        "width": Field("width", _WIDTHS),
        "heads": Field("heads", _COUNTS, _COUNTS),
        "mlp_ratios": Field("mlp_ratio", _RATIOS, _COUNTS),
        "head_width": Field("width of a head", range(4097)),
    }
    layout: ClassVar[str] = "width,head_width?|heads|mlp_ratios"

    width: int  # channels of a token
    heads: tuple[int, ...]  # attention heads of each block
    mlp_ratios: tuple[float, ...]  # hidden width of each block's feed-forward part over the width
    head_width: int = 0  # channels of a head; 0 where the heads of a block share the width

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.heads) != len(self.mlp_ratios):
            raise ValueError(
                f"{one_line(str(self))} has heads for {len(self.heads)} blocks and ratios for "
                f"{len(self.mlp_ratios)}; give both for every block"
            )
        odd = [heads for heads in self.heads if self.width % heads and not self.head_width]
        if odd:
            raise ValueError(
                f"{one_line(str(self))}: {odd[0]} heads do not divide a width of {self.width}; "
                f"use divisors, or give the width of a head as in {self.prefix}{self.width},64|..."
            )


class AutoFormer(Family):
    """AutoFormers: timm's vision transformers with blocks of different heads and ratios."""

    name, prefix, architecture = (
        "autoformer",
        AutoFormerArchitecture.prefix,
        AutoFormerArchitecture,
    )

    def features(self, arch: AutoFormerArchitecture) -> dict[str, float]:
        """Means of heads and ratios over each third of the blocks, since their number varies."""
        heads, ratios = (
            np.repeat(values, _THIRDS).reshape(_THIRDS, -1).mean(axis=1)
            for values in (arch.heads, arch.mlp_ratios)
        )
        own = {"head width": math.log2(arch.head_width)} if arch.head_width else {}
        sizes = size_features(len(arch.heads), arch.width)
        return sizes | own | stage_features("heads", heads) | stage_features("ratio", ratios)

    def make_network(
        self, arch: AutoFormerArchitecture, image_size: int, **options: Any
    ) -> nn.Module:
        blocks = iter(zip(arch.heads, arch.mlp_ratios, strict=True))

        def block(**settings: Any) -> nn.Module:
            """The next block of the network, in place of timm's."""
            heads, ratio = next(blocks)
            own = 1 if arch.head_width else heads  # timm's block hands on no width of a head
            made: nn.Module = Block(**{**settings, "num_heads": own, "mlp_ratio": ratio})
            if arch.head_width:
                sizes = arch.width, heads, arch.head_width
                made.attn = Attention(*sizes, qkv_bias=settings["qkv_bias"])
            return made

        shape = {"embed_dim": arch.width, "depth": len(arch.heads), "num_heads": arch.heads[0]}
        patches = {"img_size": image_size, "patch_size": PATCH}
        # The tokens are normalised, then averaged.
        pool = {"global_pool": "avg", "fc_norm": False}
        network: nn.Module = VisionTransformer(
            **shape, **patches, **pool, block_fn=block, **options
        )
        return network

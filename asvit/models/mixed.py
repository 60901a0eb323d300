"""An As-ViT in which stages may shift instead of attending, and have compact parts."""

from collections.abc import Collection
from typing import Any, cast

from torch import Tensor, nn

from asvit.architectures.genotype import Genotype
from asvit.models._staged import drop_path_rates
from asvit.models.asvit import AsViT
from asvit.models.convert import convert
from asvit.models.layers.blocks import BlockStage, init_by_width, init_weights
from asvit.models.layers.psvit import TokenPooling2d
from asvit.models.layers.shift import ShiftBlock

__all__ = ["MixedViT"]


class ShiftStage(BlockStage):
    """ShiftViT's blocks, on a grid of tokens."""

    splits = 1  # no windows

    def forward(self, x: Tensor) -> Tensor:
        """``[B, h, w, dim] -> [B, h, w, dim]``."""
        x = super().forward(x.permute(0, 3, 1, 2).contiguous())
        return x.permute(0, 2, 3, 1).contiguous()


class MixedViT(AsViT):
    """An :class:`AsViT` with parts of ShiftViT, PSViT and the compact feed-forward network.

    Stages that are ``shifted``, from 0, have ShiftViT's blocks of the same expansion; those that
    are ``compact`` have the second map of feed-forward parts in two merged factors. With
    ``pooled``, PSViT's pooling, a 3 x 3 convolution of stride 2, leads to the last stage.
    """

    def __init__(
        self,
        genotype: Genotype,
        *,
        shifted: Collection[int] = (),
        compact: Collection[int] = (),
        pooled: bool = False,
        drop_path_rate: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(genotype, drop_path_rate=drop_path_rate, **options)
        rates = drop_path_rates(drop_path_rate, genotype.depths)
        for stage in shifted:
            dim = genotype.stage_widths[stage]
            hidden = genotype.expansions[stage] * dim
            blocks = [ShiftBlock(dim, hidden, drop_path=rate) for rate in rates[stage]]
            shift_stage = ShiftStage(blocks, cast("nn.Module", self.layers[stage].downsample))
            shift_stage.blocks.apply(lambda module: init_weights(module, (nn.Conv2d,)))
            self.layers[stage] = shift_stage
        for stage in compact:
            convert(self.layers[stage], ffn="compact", branches=0, inplace=True)
        if self.weights_suit_width:
            for stage in {*shifted, *compact}:
                cast("nn.Module", self.layers[stage].blocks).apply(init_by_width)
        if pooled:
            self.layers[2].downsample = TokenPooling2d(*genotype.stage_widths[2:])

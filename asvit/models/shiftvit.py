"""The ShiftViT network."""

from collections.abc import Sequence
from functools import partial
from typing import ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asvit.models._staged import StagedNetwork
from asvit.models.layers.blocks import BlockStage
from asvit.models.layers.shift import ACTIVATIONS, NORMS, Merging, Norm, ShiftBlock
from proxies.messages import unknown

__all__ = ["ShiftViT"]

PATCH = 4  # pixels per side


class ShiftViT(StagedNetwork):
    """A pyramid of four stages in which only the shift of channels mixes positions.

    It has no attention and no position embedding. Any image of at least 32 x 32 pixels works; a
    remainder of a side that strides do not cover is cut off. Methods follow timm. Parameter names
    are those of the released code, whose state dicts load with ``strict=True``. The default is
    Shift-T.

    Args:
        depths: Blocks in each stage.
        width: Channels of the first stage, doubled in each later one.
        ratio: Hidden width of the feed-forward part over the width of the stage; the hidden width
            is rounded down.
        n_div: Each of the four shifted groups has 1 / n_div of the channels, rounded down.
        step: Positions by which a group moves; 0 for none.
        norm_layer: ``"groupnorm1"`` or, for the paper's ablation, ``"batchnorm2d"``.
        act_layer: ``"gelu"`` or, for the paper's ablation, ``"relu"``.
        in_chans: Channels of the images.
        num_classes: Classes; with 0 there is no head and the output is the pooled features.
        global_pool: ``"avg"`` for the mean over positions, ``""`` for none.
        drop_rate: Dropout before the head.
        proj_drop_rate: Dropout in the feed-forward parts.
        drop_path_rate: Drop-path probability of the last block, on a linear ramp from 0.

    Raises:
        ValueError: If a setting is not one of its choices, or out of range.

    References:
        Wang et al. 2022, "When Shift Operation Meets Vision Transformer: An Extremely Simple
        Alternative to Attention Mechanism", arXiv:2201.10801.
    """

    _formats: ClassVar[tuple[str, ...]] = ("NCHW",)
    _initialised: ClassVar[tuple[type[nn.Module], ...]] = (nn.Linear, nn.Conv2d)

    def __init__(
        self,
        *,
        depths: Sequence[int] = (6, 8, 18, 6),
        width: int = 96,
        ratio: float = 2.0,
        n_div: int = 12,
        step: int = 1,
        norm_layer: str = "groupnorm1",
        act_layer: str = "gelu",
        in_chans: int = 3,
        num_classes: int = 1000,
        global_pool: str = "avg",
        drop_rate: float = 0.0,
        proj_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__()
        if norm_layer not in NORMS:
            raise ValueError(unknown("norm_layer", norm_layer, NORMS))
        if act_layer not in ACTIVATIONS:
            raise ValueError(unknown("act_layer", act_layer, ACTIVATIONS))
        norm = NORMS[norm_layer]
        block = partial(
            ShiftBlock,
            n_div=n_div,
            step=step,
            norm=norm,
            act=ACTIVATIONS[act_layer],
            drop=proj_drop_rate,
        )
        self.stage_widths = tuple(width * 2**i for i in range(len(depths)))
        self.num_features = self.head_hidden_size = self.stage_widths[-1]
        self.feature_info = [
            {"num_chs": dim, "reduction": PATCH * 2**i, "module": f"layers.{i}"}
            for i, dim in enumerate(self.stage_widths)
        ]
        self.patch_embed = PatchEmbedding(in_chans, width, norm)
        self.layers = nn.ModuleList()
        rates = iter(torch.linspace(0, drop_path_rate, sum(depths), device="cpu").tolist())
        for dim, depth in zip(self.stage_widths, depths, strict=True):
            hidden = int(ratio * dim)
            blocks = [block(dim, hidden, drop_path=next(rates)) for _ in range(depth)]
            last = dim == self.stage_widths[-1]
            self.layers.append(
                BlockStage(blocks, nn.Identity() if last else Merging(dim, norm=norm))
            )
        self._add_head(norm(self.num_features), num_classes, global_pool, drop_rate)

    def _embed(self, image: Tensor) -> Tensor:
        """``[B, in_chans, H, W] -> [B, width, H/4, W/4]``."""
        least = PATCH * 2 ** (len(self.layers) - 1)
        if image.ndim != 4 or min(image.shape[2:]) < least:
            raise ValueError(
                f"the images have shape {tuple(image.shape)}; use [batch, channels, height, "
                f"width] with sides of at least {least} px"
            )
        return cast("Tensor", self.patch_embed(image))

    def _pool(self, x: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(x, 1).flatten(1) if self.global_pool == "avg" else x

    def _classify(self, x: Tensor) -> Tensor:
        # The head takes channels last.
        return cast("Tensor", self.head(x.movedim(1, -1)).movedim(-1, 1))


class PatchEmbedding(nn.Module):
    """The stem: a linear map of patches of 4 x 4 pixels, then a norm.

    Args:
        channels: Channels of the image.
        dim: Channels of the map.
        norm: Constructor of a norm, from its channels.
    """

    def __init__(self, channels: int, dim: int, norm: Norm) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, dim, PATCH, stride=PATCH)
        self.norm = norm(dim)

    def forward(self, image: Tensor) -> Tensor:
        """``[B, channels, H, W] -> [B, dim, H/4, W/4]``, sides rounded down."""
        return cast("Tensor", self.norm(self.proj(image)))

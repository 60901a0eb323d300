"""The ShiftViT network."""

from collections.abc import Sequence
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asvit.models._features import known_pool
from asvit.models._staged import StagedNetwork
from asvit.models.layers.shift import ACTIVATIONS, NORMS, Merging, Norm, ShiftBlock, ShiftStage
from proxies.messages import unknown

__all__ = ["ShiftViT"]

PATCH = 4  # pixels per side


class ShiftViT(StagedNetwork):
    """A pyramid of four stages in which nothing but the shift of channels mixes positions.

    There is no attention and no position embedding; any image of at least 32 x 32 pixels works,
    and sides that do not divide are cut short. Methods follow timm; parameter names are those of
    the released code, whose state dicts load with ``strict=True``. The default is Shift-T.

    Args:
        depths: Blocks in each stage.
        width: Channels of the first stage; each later one has twice those of the one before.
        ratio: Hidden channels of the feed-forward part over those of the stage; their product is
            rounded down.
        n_div: Each of the four moved groups is one of so many parts of the channels, rounded down.
        step: Positions that a group moves; 0 for none.
        norm_layer: ``"groupnorm1"`` or, for the paper's ablation, ``"batchnorm2d"``.
        act_layer: ``"gelu"`` or, for the paper's ablation, ``"relu"``.
        in_chans: Channels of the images.
        num_classes: Classes; 0 leaves the head out, so that the pooled features come out.
        global_pool: ``"avg"`` for the mean over positions, ``""`` for none.
        drop_rate: Dropout in front of the head.
        proj_drop_rate: Dropout in the feed-forward parts.
        drop_path_rate: Drop-path probability of the last block; a linear ramp from 0 leads to it.

    Raises:
        ValueError: If a setting is not one of its choices, or out of its range.

    References:
        Wang et al. 2022, "When Shift Operation Meets Vision Transformer: An Extremely Simple
        Alternative to Attention Mechanism", arXiv:2201.10801.
    """

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
        self.num_classes = num_classes
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
                ShiftStage(blocks, nn.Identity() if last else Merging(dim, norm=norm))
            )
        self.norm = norm(self.num_features)
        self.global_pool = known_pool(global_pool)
        self.head_drop = nn.Dropout(drop_rate)
        self.head = _head(self.num_features, num_classes)
        self.apply(_init_weights)

    def forward(self, image: Tensor) -> Tensor:
        """``[B, in_chans, H, W] -> [B, num_classes]``."""
        return self.forward_head(self.forward_features(image))

    def forward_features(self, image: Tensor) -> Tensor:
        """``[B, in_chans, H, W] -> [B, num_features, H/32, W/32]``, after the final norm.

        Quotients of the sides are rounded down.

        Raises:
            ValueError: If a side is below 32 pixels.
        """
        x = self._embed(image)
        for stage in self._stages():
            x = stage.downsample(stage(x))
        return cast("Tensor", self.norm(x))

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """``[B, num_features, h, w] -> [B, num_classes]``, or the pooled ``[B, num_features]``.

        Without pooling the two sides stay.

        Args:
            x: Map from :meth:`forward_features`.
            pre_logits: Return what the head would read: the mean over positions.
        """
        if self.global_pool == "avg":
            x = F.adaptive_avg_pool2d(x, 1).flatten(1)
        if pre_logits:
            return x
        # A head reads the channels last.
        return cast("Tensor", self.head(self.head_drop(x).movedim(1, -1)).movedim(-1, 1))

    def get_classifier(self) -> nn.Module:
        """The linear map, or the identity when there are no classes."""
        return self.head

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the classifier by a fresh one.

        Args:
            num_classes: Classes; 0 removes the head.
            global_pool: ``"avg"`` or ``""``; None keeps what is there.
        """
        if global_pool is not None:
            self.global_pool = known_pool(global_pool)
        like = next(self.parameters())
        head = _head(self.num_features, num_classes).apply(_init_weights)
        self.head = head.to(device=like.device, dtype=like.dtype)
        self.num_classes = num_classes

    def _embed(self, image: Tensor) -> Tensor:
        """``[B, in_chans, H, W] -> [B, width, H/4, W/4]``, if every stage has a position."""
        least = PATCH * 2 ** (len(self.layers) - 1)
        if image.ndim != 4 or min(image.shape[2:]) < least:
            raise ValueError(
                f"the images have shape {tuple(image.shape)}; use [batch, channels, height, "
                f"width] with sides of at least {least} px"
            )
        return cast("Tensor", self.patch_embed(image))

    def _check_format(self, output_fmt: str) -> None:
        if output_fmt != "NCHW":
            raise ValueError(f"output_fmt={output_fmt!r} is not allowed; use 'NCHW'")


class PatchEmbedding(nn.Module):
    """The stem: patches of 4 x 4 pixels, each mapped to one position, then a norm.

    Args:
        channels: Channels of the image.
        dim: Channels of the map.
        norm: Makes the norm of a width.
    """

    def __init__(self, channels: int, dim: int, norm: Norm) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, dim, PATCH, stride=PATCH)
        self.norm = norm(dim)

    def forward(self, image: Tensor) -> Tensor:
        """``[B, channels, H, W] -> [B, dim, H/4, W/4]``, sides rounded down."""
        return cast("Tensor", self.norm(self.proj(image)))


def _head(dim: int, num_classes: int) -> nn.Module:
    return nn.Linear(dim, num_classes) if num_classes else nn.Identity()


def _init_weights(module: nn.Module) -> None:
    """Truncated normal for every map, no biases; norms keep PyTorch's ones and zeros."""
    if isinstance(module, nn.Linear | nn.Conv2d):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)

"""The As-ViT network and its four sizes in timm's registry."""

from collections.abc import Callable, Iterable
from typing import Any, cast

import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn

from asvit.genotype import Genotype
from asvit.models._features import known_pool
from asvit.models._staged import StagedNetwork
from asvit.models.layers import Block, PatchEmbedding, ReEmbedding, Stage

__all__ = ["SIZES", "AsViT"]


class AsViT(StagedNetwork):
    """Vision transformer with a pyramid of four stages, built from an architecture text.

    Any image works whose sides are multiples of 4 and whose tokens the splits divide in every
    stage (multiples of 32 always do); height and width may differ. Arguments and methods follow
    timm; parameter names are those of the released As-ViT code, whose state dicts load with
    ``strict=True``.

    Args:
        genotype: The architecture, or its text.
        img_size: Side of the images in pixels, or (height, width); only checked.
        in_chans: Channels of the images.
        num_classes: Classes; 0 leaves the head out, so that the pooled features come out.
        global_pool: ``"avg"`` for the mean over tokens, ``""`` for none.
        drop_rate: Dropout in front of the head.
        drop_path_rate: Drop-path probability of the last block; a linear ramp from 0 leads to it.

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
        super().__init__()
        g = Genotype.parse(genotype) if isinstance(genotype, str) else genotype
        for side in (img_size,) if isinstance(img_size, int) else img_size:
            g.token_sides(side)
        self.genotype = g
        self.num_classes = num_classes
        self.stage_widths = g.stage_widths
        self.num_features = self.head_hidden_size = g.stage_widths[-1]
        self.feature_info = [
            {"num_chs": dim, "reduction": 4 * 2**i, "module": f"layers.{i}"}
            for i, dim in enumerate(g.stage_widths)
        ]
        self.patch_embed = PatchEmbedding(in_chans, g.width, g.kernels[0])
        self.layers = nn.ModuleList(_make_stages(g, drop_path_rate))
        self.norm: nn.Module = nn.LayerNorm(self.num_features)
        self.global_pool = known_pool(global_pool)
        self.head_drop = nn.Dropout(drop_rate)
        self.head = _head(self.num_features, num_classes)
        self.apply(_init_weights)

    def forward(self, image: Tensor) -> Tensor:
        """``[B, in_chans, H, W] -> [B, num_classes]``."""
        return self.forward_head(self.forward_features(image))

    def forward_features(self, image: Tensor) -> Tensor:
        """``[B, in_chans, H, W] -> [B, H/32 * W/32, num_features]``, after the final norm.

        Quotients of the sides are rounded up.

        Raises:
            ValueError: If stride 4 does not divide H or W, or a split its tokens.
        """
        x = self._embed(image)
        for stage in self._stages():
            x = stage.downsample(stage(x))
        tokens: Tensor = self.norm(x.flatten(1, 2))
        return tokens

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """``[B, tokens, num_features] -> [B, num_classes]``, or the pooled ``[B, num_features]``.

        Args:
            x: Tokens from :meth:`forward_features`.
            pre_logits: Return what the head would read: the mean over tokens.
        """
        if self.global_pool == "avg":
            x = x.mean(dim=1)
        if pre_logits:
            return x
        logits: Tensor = self.head(self.head_drop(x))
        return logits

    def get_classifier(self) -> nn.Module:
        """The last linear map, or the identity when there are no classes."""
        return self.head[-1] if isinstance(self.head, nn.Sequential) else self.head

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the classifier by a fresh one; the hidden layer of the head stays.

        Args:
            num_classes: Classes; 0 removes the head, hidden layer and all.
            global_pool: ``"avg"`` or ``""``; None keeps what is there.
        """
        if global_pool is not None:
            self.global_pool = known_pool(global_pool)
        head = _head(self.num_features, num_classes).apply(_init_weights)
        like = next(self.parameters())
        head.to(device=like.device, dtype=like.dtype)
        if isinstance(head, nn.Sequential) and isinstance(self.head, nn.Sequential):
            head[0] = self.head[0]
        self.head = head
        self.num_classes = num_classes

    def _embed(self, image: Tensor) -> Tensor:
        """``[B, in_chans, H, W] -> [B, H/4, W/4, width]``, if the architecture fits H and W."""
        if image.ndim != 4:
            raise ValueError(
                f"the images have shape {tuple(image.shape)}; use [batch, channels, height, width]"
            )
        for side in image.shape[2:]:
            self.genotype.token_sides(side)
        return cast("Tensor", self.patch_embed(image))

    def _check_format(self, output_fmt: str) -> None:
        if output_fmt not in ("NCHW", "NHWC"):
            raise ValueError(f"output_fmt={output_fmt!r} is not one of 'NCHW', 'NHWC'")

    def _as_map(self, x: Tensor, output_fmt: str) -> Tensor:
        return x if output_fmt == "NHWC" else x.permute(0, 3, 1, 2)

    def _as_features(self, x: Tensor) -> Tensor:
        return x.flatten(1, 2)


def _make_stages(g: Genotype, drop_path_rate: float) -> Iterable[Stage]:
    rates = iter(torch.linspace(0, drop_path_rate, sum(g.depths), device="cpu").tolist())
    for i, (dim, heads) in enumerate(zip(g.stage_widths, g.stage_heads, strict=True)):
        hidden = g.expansions[i] * dim
        blocks = [Block(dim, heads, hidden, drop_path=next(rates)) for _ in range(g.depths[i])]
        downsample: nn.Module = nn.Identity()
        if i < 3:
            downsample = ReEmbedding(dim, g.stage_widths[i + 1], g.kernels[i + 1])
        yield Stage(blocks, g.splits[i], downsample)


def _head(dim: int, num_classes: int) -> nn.Module:
    if num_classes == 0:
        return nn.Identity()
    return nn.Sequential(nn.Linear(dim, dim), nn.Tanh(), nn.Linear(dim, num_classes))


def _init_weights(module: nn.Module) -> None:
    """Truncated normal for linear maps; PyTorch's own for the stem and the norms."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _cfg(**settings: Any) -> dict[str, Any]:
    return {
        "num_classes": 1000,
        "input_size": (3, 224, 224),
        "pool_size": (7, 7),
        "crop_pct": 0.9,
        "interpolation": "bicubic",
        "mean": IMAGENET_DEFAULT_MEAN,
        "std": IMAGENET_DEFAULT_STD,
        "first_conv": "patch_embed.proj",
        "classifier": "head.2",
        "paper_ids": "arXiv:2202.11921",
        "paper_name": "Auto-scaling Vision Transformers without Training",
        **settings,
    }


#: Name in timm -> architecture. The seed is the published result of the search, and the sizes are
#: its growth; the depths and widths of Small and Base are inferred from published counts.
SIZES = {
    "asvit_seed": "8,2,3|4,1,2|4,1,4|4,1,6|32",
    "asvit_small": "8,2,3,3|4,1,2,1|4,1,4,4|4,1,6,2|32,88",
    "asvit_base": "8,2,3,3|4,1,2,1|4,1,4,5|4,1,6,2|32,116",
    "asvit_large": "8,2,3,5|4,1,2,2|4,1,4,5|4,1,6,2|32,180",
}

default_cfgs = generate_default_cfgs({name: _cfg() for name in SIZES})


def _create(name: str, pretrained: bool, **kwargs: Any) -> nn.Module:
    model: nn.Module = build_model_with_cfg(
        AsViT,
        name,
        pretrained,
        feature_cfg={"out_indices": (0, 1, 2, 3), "feature_cls": "getter"},
        genotype=SIZES[name],
        **kwargs,
    )
    return model


# timm has no types, and an untyped decorator would take ours away.
_register = cast("Callable[[Callable[..., nn.Module]], Callable[..., nn.Module]]", register_model)


@_register
def asvit_seed(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """The published search result at C=32, before scaling: 2.3 M parameters."""
    return _create("asvit_seed", pretrained, **kwargs)


@_register
def asvit_small(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """As-ViT Small: 28.8 M parameters, 5.1 G multiply-adds at 224 px."""
    return _create("asvit_small", pretrained, **kwargs)


@_register
def asvit_base(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """As-ViT Base: 52.3 M parameters, 8.8 G multiply-adds at 224 px."""
    return _create("asvit_base", pretrained, **kwargs)


@_register
def asvit_large(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """As-ViT Large: 87.6 M parameters, 22.4 G multiply-adds at 224 px."""
    return _create("asvit_large", pretrained, **kwargs)

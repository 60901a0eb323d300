"""PSViT in timm's registry: sizes of our own, since the paper's are in figures that nobody has."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.layers import resample_abs_pos_embed
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn

from asvit.models.psvit import PSViT
from asvit.models.psvit_parts import Pooling

__all__ = ["PRESETS", "Preset"]


@dataclass(frozen=True)
class Preset:
    """What sets one size apart.

    Attributes:
        pooling: Whether tokens are a list or a grid.
        cells: The cells of each stage.
        dims: Width of each stage.
        heads: Attention heads of each stage.
    """

    pooling: Pooling
    cells: tuple[str, ...]
    dims: tuple[int, ...]
    heads: tuple[int, ...]


#: Name in timm -> what it is. Widths, heads and depths are ours, not the paper's.
PRESETS: Mapping[str, Preset] = {
    "psvit_1d_tiny": Preset("1d", ("bbbb", "bbbb", "bbbb"), (192, 256, 384), (3, 4, 6)),
    "psvit_1d_tiny_shared": Preset("1d", ("ss", "ss", "ss"), (192, 256, 384), (3, 4, 6)),
    "psvit_1d_base": Preset("1d", ("bbbb", "bbbb", "bbbb"), (768, 1024, 1536), (12, 16, 24)),
    "psvit_2d_tiny": Preset("2d", ("bb", "bbbb", "bbbbb"), (96, 192, 384), (3, 6, 12)),
    "psvit_2d_base": Preset("2d", ("bb", "bbbb", "bbbbbb"), (384, 768, 1536), (6, 12, 24)),
}


def _cfg() -> dict[str, Any]:
    return {
        "num_classes": 1000,
        "input_size": (3, 224, 224),
        "fixed_input_size": True,
        "pool_size": None,
        "crop_pct": 0.9,
        "interpolation": "bicubic",
        "mean": IMAGENET_DEFAULT_MEAN,
        "std": IMAGENET_DEFAULT_STD,
        "first_conv": "patch_embed.proj",
        "classifier": "head",
        "paper_ids": "arXiv:2108.03428",
        "paper_name": "PSViT: Better Vision Transformer via Token Pooling and Attention Sharing",
    }


default_cfgs = generate_default_cfgs({name: _cfg() for name in PRESETS})

_POSITIONS = "patch_embed.pos_embed"


def checkpoint_filter_fn(state: Mapping[str, Tensor], model: PSViT) -> dict[str, Tensor]:
    """A checkpoint with its position embeddings resampled for the image size of ``model``.

    Args:
        state: Names to tensors; of a network for square images.
        model: The network that they are for.
    """
    fitted = dict(state)
    wanted = model.patch_embed
    if _POSITIONS in fitted and fitted[_POSITIONS].shape != wanted.pos_embed.shape:
        fitted[_POSITIONS] = resample_abs_pos_embed(
            fitted[_POSITIONS], list(wanted.grid), num_prefix_tokens=wanted.prefix
        )
    return fitted


def _create(name: str, pretrained: bool, **kwargs: Any) -> nn.Module:
    preset = PRESETS[name]
    levels = (0,) if preset.pooling == "1d" else tuple(range(len(preset.cells)))
    model: nn.Module = build_model_with_cfg(
        PSViT,
        name,
        pretrained,
        pretrained_filter_fn=checkpoint_filter_fn,
        feature_cfg={"out_indices": levels, "feature_cls": "getter"},
        **{
            "cells": preset.cells,
            "dims": preset.dims,
            "heads": preset.heads,
            "pooling": preset.pooling,
            **kwargs,
        },
    )
    return model


# timm has no types, and an untyped decorator would take ours away.
_register = cast("Callable[[Callable[..., nn.Module]], Callable[..., nn.Module]]", register_model)


@_register
def psvit_1d_tiny(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Lists of 197, 99 and 50 tokens, 4 layers each: 12.8 M parameters, 1.2 G multiply-adds."""
    return _create("psvit_1d_tiny", pretrained, **kwargs)


@_register
def psvit_1d_tiny_shared(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """The same in pairs that share attention: 11.8 M parameters, 1.0 G multiply-adds."""
    return _create("psvit_1d_tiny_shared", pretrained, **kwargs)


@_register
def psvit_1d_base(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Four times as wide as tiny: 197 M parameters, 17 G multiply-adds."""
    return _create("psvit_1d_base", pretrained, **kwargs)


@_register
def psvit_2d_tiny(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Grids of 28, 14 and 7 tokens a side: 12.2 M parameters, 1.3 G multiply-adds."""
    return _create("psvit_2d_tiny", pretrained, **kwargs)


@_register
def psvit_2d_base(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Four times as wide as tiny and a layer more: 217 M parameters, 19 G multiply-adds."""
    return _create("psvit_2d_base", pretrained, **kwargs)

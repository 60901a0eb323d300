"""The published hosts with both parts, hallucinated and compact, in timm's registry."""

from collections.abc import Callable
from typing import Any, cast

import timm
from timm.models import generate_default_cfgs, register_model
from torch import nn

from asvit.models.convert import convert
from asvit.models.layers.hallucinated import HeadRule

__all__ = ["HALLUCINATED_HOSTS"]

#: Name in timm -> the host, and its heads: those that give the published savings. DeiT and PVTv2
#: have twice the host's, which the published numbers of maps and parameters ask for; Next-ViT has
#: the host's.
HALLUCINATED_HOSTS: dict[str, tuple[str, HeadRule]] = {
    "hallucinated_deit_tiny_patch16_224": ("deit_tiny_patch16_224", "double"),
    "hallucinated_deit_small_patch16_224": ("deit_small_patch16_224", "double"),
    "hallucinated_pvt_v2_b1": ("pvt_v2_b1", "double"),
    "hallucinated_nextvit_small": ("nextvit_small", "double_odd"),
}


# What of a host's entry in the registry is true of the converted network too.
_KEPT = (
    "num_classes",
    "input_size",
    "pool_size",
    "fixed_input_size",
    "crop_pct",
    "interpolation",
    "mean",
    "std",
    "first_conv",
    "classifier",
)
_SETTINGS = ("attention", "ffn", "heads", "axis", "class_token", "map_bias", "ratio", "branches")


def _cfg(host: str) -> dict[str, Any]:
    config = timm.get_pretrained_cfg(host).to_dict()
    kept = {key: config[key] for key in _KEPT if key in config}
    return {**kept, "paper_ids": "arXiv:2306.10875"}


default_cfgs = generate_default_cfgs(
    {name: _cfg(host) for name, (host, _) in HALLUCINATED_HOSTS.items()}
)


def _create(name: str, pretrained: bool, **kwargs: Any) -> nn.Module:
    """The host with timm's arguments, converted with those of :func:`convert`.

    timm leaves out arguments that are None: False keeps a part of the host as it is.
    """
    if pretrained:
        raise ValueError(f"{name} has no published weights; use pretrained=False")
    host, heads = HALLUCINATED_HOSTS[name]
    settings: dict[str, Any] = {"attention": "hallucinated", "ffn": "compact", "heads": heads}
    settings |= {key: kwargs.pop(key) for key in _SETTINGS if key in kwargs}
    settings |= {key: settings[key] or None for key in ("attention", "ffn")}
    for key in ("pretrained_cfg", "pretrained_cfg_overlay", "cache_dir"):  # about weights
        kwargs.pop(key, None)
    model: Any = timm.create_model(host, **kwargs)
    if hasattr(model, "pretrained_cfg"):
        model.pretrained_cfg = model.default_cfg = timm.get_pretrained_cfg(name).to_dict()
    return convert(model, **settings, inplace=True)


# timm has no types, and an untyped decorator would take ours away.
_register = cast("Callable[[Callable[..., nn.Module]], Callable[..., nn.Module]]", register_model)


@_register
def hallucinated_deit_tiny_patch16_224(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """DeiT-T with 6 heads, half of their maps hallucinated, and compact feed-forward parts."""
    return _create("hallucinated_deit_tiny_patch16_224", pretrained, **kwargs)


@_register
def hallucinated_deit_small_patch16_224(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """DeiT-S with 12 heads, half of their maps hallucinated, and compact feed-forward parts."""
    return _create("hallucinated_deit_small_patch16_224", pretrained, **kwargs)


@_register
def hallucinated_pvt_v2_b1(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """PVTv2-b1 with twice the heads, half of them hallucinated, and compact feed-forward parts."""
    return _create("hallucinated_pvt_v2_b1", pretrained, **kwargs)


@_register
def hallucinated_nextvit_small(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Next-ViT-S with half of its maps hallucinated and compact feed-forward parts."""
    return _create("hallucinated_nextvit_small", pretrained, **kwargs)

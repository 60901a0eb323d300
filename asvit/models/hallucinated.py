"""Published networks with hallucinated attention and compact feed-forward parts, for timm."""

from typing import Any

import timm
from torch import nn

from asvit.models._registration import register_variants
from asvit.models.convert import convert
from asvit.models.layers.hallucinated import HeadRule

__all__ = ["HALLUCINATED_HOSTS"]

#: Name in timm -> the base model, and the rule for its heads that gives the published savings.
#: DeiT and PVTv2 get twice their heads, as the published numbers of maps and parameters imply.
HALLUCINATED_HOSTS: dict[str, tuple[str, HeadRule]] = {
    "hallucinated_deit_tiny_patch16_224": ("deit_tiny_patch16_224", "double"),
    "hallucinated_deit_small_patch16_224": ("deit_small_patch16_224", "double"),
    "hallucinated_pvt_v2_b1": ("pvt_v2_b1", "double"),
    "hallucinated_nextvit_small": ("nextvit_small", "double_odd"),
}


# Entries of the base model's configuration that hold for the converted network, too.
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


def _cfg(base: str) -> dict[str, Any]:
    config = timm.get_pretrained_cfg(base).to_dict()
    kept = {key: config[key] for key in _KEPT if key in config}
    return {**kept, "paper_ids": "arXiv:2306.10875"}


def _create(name: str, pretrained: bool, **kwargs: Any) -> nn.Module:
    """Build the base model with timm's arguments and convert it with those of :func:`convert`.

    timm drops arguments that are None, so False keeps attention or feed-forward parts unconverted.
    """
    if pretrained:
        raise ValueError(f"{name} has no published weights; use pretrained=False")
    base, heads = HALLUCINATED_HOSTS[name]
    settings: dict[str, Any] = {"attention": "hallucinated", "ffn": "compact", "heads": heads}
    settings |= {key: kwargs.pop(key) for key in _SETTINGS if key in kwargs}
    settings |= {key: settings[key] or None for key in ("attention", "ffn")}
    for key in ("pretrained_cfg", "pretrained_cfg_overlay", "cache_dir"):  # about weights
        kwargs.pop(key, None)
    model: Any = timm.create_model(base, **kwargs)
    if hasattr(model, "pretrained_cfg"):
        model.pretrained_cfg = model.default_cfg = timm.get_pretrained_cfg(name).to_dict()
    return convert(model, **settings, inplace=True)


register_variants(
    __name__,
    _create,
    {
        "hallucinated_deit_tiny_patch16_224": "DeiT-T with 6 heads, half of their maps "
        "hallucinated, and compact feed-forward parts.",
        "hallucinated_deit_small_patch16_224": "DeiT-S with 12 heads, half of their maps "
        "hallucinated, and compact feed-forward parts.",
        "hallucinated_pvt_v2_b1": "PVTv2-b1 with twice the heads, half of their maps "
        "hallucinated, and compact feed-forward parts.",
        "hallucinated_nextvit_small": "Next-ViT-S with half of its maps hallucinated and compact "
        "feed-forward parts.",
    },
    {name: _cfg(base) for name, (base, _) in HALLUCINATED_HOSTS.items()},
)

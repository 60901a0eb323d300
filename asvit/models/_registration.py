"""Registration of our networks with timm."""

import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import nn


def register_variants(
    module: str,
    create: Callable[..., nn.Module],
    cfgs: Mapping[str, dict[str, Any]],
) -> None:
    """Register with timm a function ``name(pretrained=False, **kwargs)`` for each name."""
    sys.modules[module].default_cfgs = generate_default_cfgs(cfgs)  # type: ignore[attr-defined]
    for name in cfgs:
        function: Any = partial(create, name)
        function.__name__ = function.__qualname__ = name
        function.__module__ = module
        function.__doc__ = f"timm's ``{name}``; arguments of the caller replace its settings."
        setattr(sys.modules[module], name, function)
        register_model(function)


def register_networks(
    module: str,
    network: type[nn.Module],
    settings: Mapping[str, Mapping[str, Any]],
    *,
    levels: Callable[[Mapping[str, Any]], int] = lambda own: 4,
    filter_fn: Callable[..., Mapping[str, Any]] | None = None,
    **cfg: Any,
) -> None:
    """Register settings of a network for ImageNet at 224 px, as :func:`register_variants`."""

    def create(name: str, pretrained: bool = False, **kwargs: Any) -> nn.Module:
        own = settings[name]
        features = {"out_indices": tuple(range(levels(own))), "feature_cls": "getter"}
        model: nn.Module = build_model_with_cfg(
            network,
            name,
            pretrained,
            pretrained_filter_fn=filter_fn,
            feature_cfg=features,
            **{**own, **kwargs},
        )
        return model

    common = {
        "num_classes": 1000,
        "input_size": (3, 224, 224),
        "pool_size": (7, 7),
        "crop_pct": 0.9,
        "interpolation": "bicubic",
        "mean": IMAGENET_DEFAULT_MEAN,
        "std": IMAGENET_DEFAULT_STD,
        "first_conv": "patch_embed.proj",
        "classifier": "head",
        **cfg,
    }
    register_variants(module, create, dict.fromkeys(settings, common))

"""Registration of our networks with timm."""

import sys
from collections.abc import Callable, Mapping
from typing import Any

from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import register_model
from torch import nn


def register_variants(
    module: str, create: Callable[..., nn.Module], descriptions: Mapping[str, str]
) -> None:
    """Register with timm a function ``name(pretrained=False, **kwargs)`` for each name.

    Args:
        module: ``__name__`` of the calling module. It gets the functions, and its
            ``default_cfgs`` describe the models.
        create: Makes a model from its name, ``pretrained`` and timm's other arguments.
        descriptions: Name -> docstring of its function.
    """
    for name, description in descriptions.items():
        function = _entry_point(name, create)
        function.__name__ = function.__qualname__ = name
        function.__module__ = module
        function.__doc__ = description
        setattr(sys.modules[module], name, function)
        register_model(function)


def _entry_point(name: str, create: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    def entry_point(pretrained: bool = False, **kwargs: Any) -> nn.Module:
        return create(name, pretrained, **kwargs)

    return entry_point


def imagenet_cfg(**settings: Any) -> dict[str, Any]:
    """Timm's description of a classifier for ImageNet at 224 px.

    Args:
        **settings: Further entries, or others instead of the defaults.
    """
    return {
        "num_classes": 1000,
        "input_size": (3, 224, 224),
        "pool_size": (7, 7),
        "crop_pct": 0.9,
        "interpolation": "bicubic",
        "mean": IMAGENET_DEFAULT_MEAN,
        "std": IMAGENET_DEFAULT_STD,
        "first_conv": "patch_embed.proj",
        "classifier": "head",
        **settings,
    }

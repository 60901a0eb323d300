"""The timm model ``asvit``, which builds a network from an architecture text, and MobileNetV3.

The first accepts texts of any space, so it cannot be in ``asvit.models`` with the other
registrations: spaces import models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

from timm.layers import to_2tuple
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models._features import FeatureGetterNet
from timm.models.mobilenetv3 import _gen_mobilenet_v3

if TYPE_CHECKING:
    from torch import nn

__all__: list[str] = []  # timm adds the name

default_cfgs = generate_default_cfgs(
    {
        "asvit": {
            "crop_pct": 0.875,  # as asvit.data.Preparation
            "interpolation": "bicubic",
            "first_conv": None,
            "classifier": None,
        },
        "mobilenetv3_small_scaled": {"first_conv": "conv_stem", "classifier": "classifier"},
    }
)

# timm has no types, and an untyped decorator would take ours away.
_register = cast("Callable[[Callable[..., nn.Module]], Callable[..., nn.Module]]", register_model)


@_register
def asvit(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """The network of ``architecture=TEXT``, a text of any space.

    Arguments as :class:`asvit.networks.Network`, with ``img_size`` for its image size, and timm's
    ``drop_rate`` and ``drop_path_rate``.

    Raises:
        ValueError: If the text is missing or wrong, or the sizes do not fit.
    """
    levels = (0, 1, 2, 3) if "feature_cls" in kwargs else None  # None is known to ours alone
    model: nn.Module = build_model_with_cfg(
        _build,
        "asvit",
        pretrained,
        feature_cfg={"out_indices": levels, "feature_cls": _FirstMaps},
        **kwargs,
    )
    return model


@_register
def mobilenetv3_small_scaled(
    pretrained: bool = False, width: int = 16, depths: Sequence[int] = (2, 3, 2, 3), **kwargs: Any
) -> nn.Module:
    """MobileNetV3-small of any width and depths; timm's own have theirs in their names.

    Args:
        pretrained: Refused by timm, as there are no weights.
        width: Channels of the first block, 16 in the published network; all others are in
            proportion, rounded to multiples of 8.
        depths: Blocks of the four stages after it.
        **kwargs: As timm's ``mobilenetv3_small_100``.

    Raises:
        ValueError: If a depth is below that of the stage's kinds of blocks: 2, 2, 1, 1.
    """
    published, least = (2, 3, 2, 3), (2, 2, 1, 1)
    if len(depths) != 4 or any(d < n for d, n in zip(depths, least, strict=True)):
        raise ValueError(f"depths={list(depths)} are not allowed; use {list(least)} or more")
    # timm rounds the product of a multiplier and the published depth up.
    stages = [(d - 0.5) / n for d, n in zip(depths, published, strict=True)]
    model: nn.Module = _gen_mobilenet_v3(
        "mobilenetv3_small_scaled",
        width / 16,
        (1.0, *stages, 1.0),
        pretrained=pretrained,
        **kwargs,
    )
    return model


class _FirstMaps(FeatureGetterNet):  # type: ignore[misc]
    """The feature maps of a network: the first four, or all of fewer, unless some are named."""

    def __init__(self, model: Any, out_indices: Any = None, **kwargs: Any) -> None:
        if out_indices is None:
            out_indices = tuple(range(min(4, len(model.feature_info))))
        super().__init__(model, out_indices, **kwargs)


def _build(
    *,
    architecture: str | None = None,
    img_size: int | tuple[int, int] = 224,
    in_chans: int = 3,
    global_pool: str = "avg",  # written down by timm when a model is pushed to its hub
    drop_rate: float | None = None,
    drop_path_rate: float | None = None,
    **parts: Any,
) -> nn.Module:
    # Imported late: this package may itself be waiting for timm.
    from asvit.networks import Network

    if architecture is None:
        raise ValueError("timm's model 'asvit' needs architecture=TEXT, of any space")
    if global_pool != "avg":
        raise ValueError(f"global_pool={global_pool!r} is not possible; leave it out")
    height, width = to_2tuple(img_size)
    if height != width:
        raise ValueError(f"img_size={height, width} is no square; give one number")
    network = Network(architecture, image_size=height, in_chans=in_chans, **parts)
    return network.build(drop_path=drop_path_rate, drop=drop_rate)

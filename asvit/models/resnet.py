"""Residual networks for small pictures: timm's, without the stem that shrinks images to a quarter.

References:
    He et al. 2016, "Deep Residual Learning for Image Recognition", arXiv:1512.03385; average pools
    in shortcuts: He et al. 2019, "Bag of Tricks", arXiv:1812.01187.
"""

from typing import Any, Final

from timm.models.resnet import BasicBlock, ResNet
from torch import nn

from asvit.models.blocks import register_networks

_STRIDES: Final = (1, 2, 4)


class SmallResNet(ResNet):  # type: ignore[misc]
    """timm's residual network whose stem is one 3 x 3 convolution, ``[B, C, S, S]``.

    Args:
        stem_stride: Of that convolution: 1, 2 or 4; the network has stages at this stride and at
            the double, four and eight times of it.
        stem_width: Its channels, an even number.
        options: As timm has them.

    Raises:
        ValueError: If the stem is none of these.
    """

    def __init__(
        self, *, stem_stride: int = 1, stem_width: int = 32, in_chans: int = 3, **options: Any
    ) -> None:
        if stem_stride not in _STRIDES:
            raise ValueError(f"stem_stride={stem_stride}; use 1, 2 or 4")
        if stem_width < 2 or stem_width % 2:
            raise ValueError(f"stem_width={stem_width}; use an even number")
        # timm's plain stems have 64 channels; deep ones, whose convolutions go, twice their width.
        super().__init__(
            in_chans=in_chans, stem_type="deep", stem_width=stem_width // 2, **options
        )
        self.conv1 = nn.Conv2d(in_chans, stem_width, 3, stem_stride, padding=1, bias=False)
        nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")
        self.maxpool = nn.Identity()
        stem, *stages = self.feature_info
        stem["reduction"] = stem_stride
        for stage in stages:
            stage["reduction"] = stage["reduction"] * stem_stride // 4


_SETTINGS: Final = {
    "small_resnet": {
        "block": BasicBlock,
        "layers": (1, 1, 1, 1),
        "channels": (32, 64, 128, 256),
        "avg_down": True,
    }
}

register_networks(
    __name__,
    SmallResNet,
    _SETTINGS,
    levels=lambda own: 1 + len(own["channels"]),
    input_size=(3, 32, 32),
    pool_size=(4, 4),
    crop_pct=1.0,
    first_conv="conv1",
    classifier="fc",
)

"""Convolutions for mixed precision on a CPU."""

import torch
from timm.layers import Conv2dSame
from torch import Tensor, nn


class MixedConv2d(nn.Conv2d):
    """A convolution that stays in float32 within autocast where bfloat16 is slow or wrong.

    The gradient of grouped ones takes up to six times as long in bfloat16. Where a map is hardly
    larger than the kernel, or the convolution dilated, oneDNN may leave parts of the gradient of
    the weights unset (torch 2.14 on an AMD EPYC).
    """

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, H, W] -> [B, C', H', W']``."""
        if not torch.is_autocast_enabled("cpu") or self._suits_bfloat16(x):
            return super().forward(x)
        with torch.autocast("cpu", enabled=False):
            return super().forward(x.float())

    def _suits_bfloat16(self, x: Tensor) -> bool:
        sizes = zip(x.shape[-2:], self.kernel_size, self.stride, strict=True)
        large = all(side >= kernel + step for side, kernel, step in sizes)
        return large and self.groups == 1 and self.dilation == (1, 1)


class MixedConv2dSame(MixedConv2d, Conv2dSame):  # type: ignore[misc]
    """The same for one that pads as TensorFlow's SAME does."""

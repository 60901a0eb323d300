"""Patch embedding of images, and re-embedding of tokens between stages."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def same_padding(
    kernel: int, stride: int, dilation: int = 1, *, missing: int = 0
) -> tuple[int, int]:
    """Zeros before and after a side, for one output per ``stride`` inputs: TensorFlow's SAME.

    Of an odd number of zeros, the extra one is after the side.

    Args:
        kernel: Weights of the kernel along the side.
        stride: Inputs from one output to the next.
        dilation: Inputs from one weight to the next.
        missing: Inputs by which the side falls short of a multiple of the stride. They are added,
            so that side / stride is rounded up.
    """
    reach = (kernel - 1) * dilation + 1
    zeros = max(0, reach - stride + missing)
    return zeros // 2, zeros - zeros // 2


class TokenConv2d(nn.Conv2d):
    """Convolution to side / stride tokens, rounded up, for any kernel and dilation.

    It pads with zeros by :func:`same_padding`; its ``padding`` is ignored.
    """

    def forward(self, image: Tensor) -> Tensor:
        """``[B, in_channels, H, W] -> [B, out_channels, h, w]``."""
        top, bottom = self._zeros(image.shape[2], axis=0)
        left, right = self._zeros(image.shape[3], axis=1)
        if top or bottom or left or right:
            image = F.pad(image, (left, right, top, bottom))
        return F.conv2d(image, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)

    def _zeros(self, side: int, axis: int) -> tuple[int, int]:
        stride = self.stride[axis]
        kernel, dilation = self.kernel_size[axis], self.dilation[axis]
        return same_padding(kernel, stride, dilation, missing=-side % stride)


class PatchEmbedding(nn.Module):
    """The stem: a convolution of stride 4 whose kernel may overlap, then a norm.

    Args:
        channels: Channels of the image.
        dim: Width of a token.
        kernel: Side of the kernel in pixels, at least 4.
    """

    stride = 4

    def __init__(self, channels: int, dim: int, kernel: int) -> None:
        super().__init__()
        self.proj = TokenConv2d(channels, dim, kernel, stride=self.stride)
        self.norm = nn.LayerNorm(dim)

    def forward(self, image: Tensor) -> Tensor:
        """``[B, channels, 4h, 4w] -> [B, h, w, dim]``; fewer tokens at a coarser stride."""
        x = self.proj(image)
        # Contiguous even if the norm is replaced by a module that does not copy.
        tokens: Tensor = self.norm(x.permute(0, 2, 3, 1).contiguous())
        return tokens


class ReEmbedding(nn.Module):
    """Halves the sides of the grid: each new token is a map of a kernel x kernel patch of tokens.

    An odd side is padded with a row of zeros at the bottom or a column at the right, so that its
    half is rounded up and every token is used.

    Args:
        dim: Width of the tokens before.
        out_dim: Width of the tokens after.
        kernel: Side of the patch in tokens, at least the stride of 2; above 2, patches overlap.
    """

    stride = 2

    def __init__(self, dim: int, out_dim: int, kernel: int) -> None:
        super().__init__()
        self.kernel = kernel
        self.padding = same_padding(kernel, self.stride)
        self.norm = nn.LayerNorm(kernel**2 * dim)
        self.reduction = nn.Linear(kernel**2 * dim, out_dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, H, W, dim] -> [B, H/2, W/2, out_dim]``, sides rounded up."""
        out: Tensor = self.reduction(self.norm(self.patches(x)))
        return out

    def patches(self, x: Tensor) -> Tensor:
        """``[B, H, W, dim] -> [B, H/2, W/2, dim * kernel**2]``, in the order of ``F.unfold``.

        Two stacks of strided slices, rows then columns, are several times faster than ``F.unfold``
        on a CPU, and their backward pass adds in a fixed order on every device.
        """
        height, width = x.shape[1:3]
        before, after = self.padding
        x = F.pad(x, (0, 0, before, after + width % 2, before, after + height % 2))
        offsets = range(self.kernel)
        x = torch.stack([x[:, i : i + height : self.stride] for i in offsets], dim=-1)
        x = torch.stack([x[:, :, j : j + width : self.stride] for j in offsets], dim=-1)
        return x.flatten(3)  # [B, h, w, dim, kernel, kernel] before

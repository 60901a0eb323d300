"""From an image to tokens, and from the tokens of one stage to those of the next."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def _same_padding(kernel: int, stride: int) -> tuple[int, int, int, int]:
    """Zero padding (left, right, top, bottom) that leaves side / stride outputs per side."""
    before, after = (kernel - stride) // 2, (kernel - stride + 1) // 2
    return (before, after, before, after)


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
        self.padding = _same_padding(kernel, self.stride)
        self.proj = nn.Conv2d(channels, dim, kernel, stride=self.stride)
        self.norm = nn.LayerNorm(dim)

    def forward(self, image: Tensor) -> Tensor:
        """``[B, channels, 4h, 4w] -> [B, h, w, dim]``."""
        x = self.proj(F.pad(image, self.padding))
        # Contiguous tokens, also where the norm is replaced by one that does not copy.
        tokens: Tensor = self.norm(x.permute(0, 2, 3, 1).contiguous())
        return tokens


class ReEmbedding(nn.Module):
    """Halves the sides of the grid: each new token reads a kernel x kernel patch of the old ones.

    An odd side gets one more row of zeros at the bottom or column at the right, so that no token
    is left out: its half is rounded up.

    Args:
        dim: Width of the old tokens.
        out_dim: Width of the new ones.
        kernel: Side of the patch in tokens, at least the stride of 2; above it, patches overlap.
    """

    stride = 2

    def __init__(self, dim: int, out_dim: int, kernel: int) -> None:
        super().__init__()
        self.kernel = kernel
        self.padding = _same_padding(kernel, self.stride)
        self.norm = nn.LayerNorm(kernel**2 * dim)
        self.reduction = nn.Linear(kernel**2 * dim, out_dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, 2h, 2w, dim] -> [B, h, w, out_dim]``; 2h and 2w less 1 where they are odd."""
        out: Tensor = self.reduction(self.norm(self.patches(x)))
        return out

    def patches(self, x: Tensor) -> Tensor:
        """``[B, 2h, 2w, dim] -> [B, h, w, dim * kernel**2]``, each as ``F.unfold`` has it.

        Rows first, then columns: two stacks of strided slices. This is several times faster than
        ``F.unfold`` on a CPU, and its backward pass adds in a fixed order on every device.
        """
        height, width = x.shape[1:3]
        left, right, top, bottom = self.padding
        x = F.pad(x, (0, 0, left, right + width % 2, top, bottom + height % 2))
        offsets = range(self.kernel)
        x = torch.stack([x[:, i : i + height : self.stride] for i in offsets], dim=-1)
        x = torch.stack([x[:, :, j : j + width : self.stride] for j in offsets], dim=-1)
        return x.flatten(3)  # [B, h, w, dim, kernel, kernel] before

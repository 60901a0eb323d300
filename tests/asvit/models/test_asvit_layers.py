"""As-ViT's embeddings, against convolution and ``F.unfold`` of padded images, and windows."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from asvit.models.asvit import (
    ReEmbedding,
    join_windows,
    same_padding,
    split_windows,
)


def padded(x: torch.Tensor, kernel: int, stride: int) -> torch.Tensor:
    """``[B, C, h, w]`` with zeros around: one more on the right and bottom when odd."""
    before = (kernel - stride) // 2
    after = kernel - stride - before
    wide = x.new_zeros(*x.shape[:2], x.shape[2] + kernel - stride, x.shape[3] + kernel - stride)
    wide[:, :, before : wide.shape[2] - after, before : wide.shape[3] - after] = x
    return wide


@pytest.mark.parametrize("kernel", [2, 3, 4])
@pytest.mark.parametrize(("height", "width"), [(6, 8), (7, 8), (6, 5), (7, 7), (1, 1)])
def test_reembedding_is_unfold_with_odd_sides_padded_by_zeros(kernel, height, width):
    layer = ReEmbedding(5, 7, kernel).double()
    x = torch.randn(2, height, width, 5, dtype=torch.float64)
    even = F.pad(x.permute(0, 3, 1, 2), (0, width % 2, 0, height % 2))
    patches = F.unfold(padded(even, kernel, 2), kernel, stride=2).transpose(1, 2)
    patches = patches.unflatten(1, (-(-height // 2), -(-width // 2)))
    torch.testing.assert_close(layer.patches(x), patches, rtol=0, atol=0)
    assert layer.reduction.bias is None
    expected = F.linear(F.layer_norm(patches, patches.shape[3:]), layer.reduction.weight)
    torch.testing.assert_close(layer(x), expected)


@given(
    kernel=st.integers(1, 9),
    stride=st.integers(1, 9),
    dilation=st.integers(1, 6),
    tokens=st.integers(1, 20),
)
def test_padding_gives_an_output_for_every_stride(kernel, stride, dilation, tokens):
    before, after = same_padding(kernel, stride, dilation)
    assert before <= after <= before + 1
    padded = torch.empty(1, 1, tokens * stride + before + after, 1, device="meta")
    conv = nn.Conv2d(1, 1, (kernel, 1), (stride, 1), dilation=(dilation, 1), device="meta")
    assert conv(padded).shape[2] == tokens


@pytest.mark.parametrize("splits", [1, 2, 4])
def test_windows_are_blocks_of_the_grid(splits):
    x = torch.arange(2 * 4 * 8).view(2, 4, 8, 1)
    windows = split_windows(x, splits)
    height, width = 4 // splits, 8 // splits
    assert windows.shape == (2, splits**2, height * width, 1)
    for row in range(splits):
        for column in range(splits):
            block = x[:, row * height : (row + 1) * height, column * width : (column + 1) * width]
            torch.testing.assert_close(windows[:, row * splits + column], block.flatten(1, 2))
    torch.testing.assert_close(join_windows(windows, splits, 4, 8), x)

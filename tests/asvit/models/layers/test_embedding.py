"""The embeddings against convolution and ``F.unfold`` on an image padded by hand."""

import pytest
import torch
from torch.nn import functional as F

from asvit.models.layers import PatchEmbedding, ReEmbedding


def padded(x: torch.Tensor, kernel: int, stride: int) -> torch.Tensor:
    """``[B, C, h, w]`` with zeros around: one more on the right and bottom when odd."""
    before = (kernel - stride) // 2
    after = kernel - stride - before
    wide = x.new_zeros(*x.shape[:2], x.shape[2] + kernel - stride, x.shape[3] + kernel - stride)
    wide[:, :, before : wide.shape[2] - after, before : wide.shape[3] - after] = x
    return wide


@pytest.mark.parametrize("kernel", [4, 5, 6, 7, 8])
def test_stem_gives_a_quarter_of_the_side(kernel):
    stem = PatchEmbedding(3, 6, kernel).double()
    image = torch.randn(2, 3, 16, 24, dtype=torch.float64)
    expected = F.conv2d(padded(image, kernel, 4), stem.proj.weight, stem.proj.bias, stride=4)
    expected = F.layer_norm(expected.permute(0, 2, 3, 1), (6,))
    tokens = stem(image)
    assert tokens.shape == (2, 4, 6, 6)
    torch.testing.assert_close(tokens, expected)


def test_stem_tokens_are_contiguous_without_the_norm():
    stem = PatchEmbedding(3, 6, 4)
    stem.norm = torch.nn.Identity()
    assert stem(torch.randn(2, 3, 16, 16)).is_contiguous()


@pytest.mark.parametrize("kernel", [2, 3, 4])
def test_reembedding_reads_patches_in_the_order_of_unfold(kernel):
    layer = ReEmbedding(5, 7, kernel).double()
    x = torch.randn(2, 6, 8, 5, dtype=torch.float64)
    patches = F.unfold(padded(x.permute(0, 3, 1, 2), kernel, 2), kernel, stride=2).transpose(1, 2)
    expected = F.linear(F.layer_norm(patches, patches.shape[2:]), layer.reduction.weight)
    assert layer.reduction.bias is None
    torch.testing.assert_close(layer(x), expected.unflatten(1, (3, 4)))


@pytest.mark.parametrize("kernel", [2, 3, 4])
@pytest.mark.parametrize(("height", "width"), [(7, 8), (6, 5), (7, 7), (1, 1)])
def test_an_odd_side_gets_one_more_row_or_column_of_zeros(kernel, height, width):
    layer = ReEmbedding(5, 7, kernel).double()
    x = torch.randn(2, height, width, 5, dtype=torch.float64)
    even = F.pad(x.permute(0, 3, 1, 2), (0, width % 2, 0, height % 2))
    patches = F.unfold(padded(even, kernel, 2), kernel, stride=2).transpose(1, 2)
    half = (-(-height // 2), -(-width // 2))
    torch.testing.assert_close(layer.patches(x), patches.unflatten(1, half), rtol=0, atol=0)
    assert layer(x).shape == (2, *half, 7)


@pytest.mark.parametrize("kernel", [2, 3, 4])
def test_reembedding_has_forward_and_backward_derivatives(kernel):
    layer = ReEmbedding(2, 3, kernel).double()
    x = torch.randn(1, 4, 4, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, (x,), check_forward_ad=True)

"""The embeddings against convolution and ``F.unfold`` on an image padded by hand."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from asvit.models.layers.asvit import PatchEmbedding, ReEmbedding, TokenConv2d, same_padding


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


@given(
    kernel=st.integers(1, 9),
    stride=st.integers(1, 9),
    dilation=st.integers(1, 6),
    side=st.integers(1, 60),
)
def test_padding_gives_an_output_for_every_stride_begun(kernel, stride, dilation, side):
    before, after = same_padding(kernel, stride, dilation, missing=-side % stride)
    assert before <= after <= before + 1
    padded = torch.empty(1, 1, side + before + after, 1, device="meta")
    conv = nn.Conv2d(1, 1, (kernel, 1), (stride, 1), dilation=(dilation, 1), device="meta")
    assert conv(padded).shape[2] == -(-side // stride)


@given(kernel=st.integers(1, 7), dilation=st.integers(1, 5))
def test_padding_at_stride_1_is_pytorchs_own(kernel, dilation):
    conv = nn.Conv1d(1, 1, kernel, dilation=dilation, padding="same")
    assert list(same_padding(kernel, 1, dilation)) == conv._reversed_padding_repeated_twice


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("sides", [(16, 24), (13, 30), (3, 5)])
def test_token_convolution_is_one_of_a_padded_image(sides, groups):
    conv = TokenConv2d(2, 4, 3, stride=(4, 8), dilation=(2, 3), groups=groups, padding=7).double()
    image = torch.randn(2, 2, *sides, dtype=torch.float64)
    top, bottom = same_padding(3, 4, 2, missing=-sides[0] % 4)
    left, right = same_padding(3, 8, 3, missing=-sides[1] % 8)
    wide = image.new_zeros(2, 2, sides[0] + top + bottom, sides[1] + left + right)
    wide[:, :, top : top + sides[0], left : left + sides[1]] = image
    plain = nn.Conv2d(2, 4, 3, stride=(4, 8), dilation=(2, 3), groups=groups).double()
    plain.load_state_dict(conv.state_dict())
    assert conv(image).shape[2:] == (-(-sides[0] // 4), -(-sides[1] // 8))
    torch.testing.assert_close(conv(image), plain(wide))

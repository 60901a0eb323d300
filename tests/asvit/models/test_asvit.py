"""The whole As-ViT network: released numbers, shapes, any image, derivatives, compilation."""

import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from asvit.architectures.genotype import Genotype
from asvit.models import AsViT
from asvit.models.asvit import (
    ReEmbedding,
    asvit_cost,
    join_windows,
    same_padding,
    split_windows,
)
from asvit.spaces import load_space
from asvit.spaces.architectures import build_on_meta
from proxies.counts import count
from tests.asvit.models.families import GOLDEN, released

SMALL = "6,2,3|3,1,2|2,1,2|4,1,2|16,8"
DEEP = "5,4,2,2|2,2,3,1|3,1,2,2|2,1,2,1|32,12"


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_released_weights_give_the_released_outputs(path):
    model, tensors, _ = released(path)
    images = tensors["images"][:2].float()
    with torch.no_grad():
        torch.testing.assert_close(model(images), tensors["logits_first_two"], atol=1e-6, rtol=0)
        model.norm = nn.Identity()
        pooled = model.forward_head(model.forward_features(images), pre_logits=True)
    torch.testing.assert_close(pooled, tensors["pooled_first_two"], atol=1e-6, rtol=0)


@pytest.mark.parametrize(("height", "width"), [(64, 96), (112, 112), (8, 40), (88, 64)])
def test_any_image_that_fits_and_grids_may_be_odd(height, width):
    model = AsViT(SMALL, num_classes=5).eval()
    assert Genotype.parse(SMALL).token_sides(height)  # fits: no multiple of 32 is needed
    image = torch.randn(2, 3, height, width)
    _, maps = model.forward_intermediates(image)
    sides = [(-(-height // stride), -(-width // stride)) for stride in (4, 8, 16, 32)]
    assert [tuple(level.shape[2:]) for level in maps] == sides
    assert model(image).shape == (2, 5)
    # The last row and column count, too: nothing of the image is left out.
    changed = image.clone()
    changed[..., -1, -1] += 1
    assert not torch.equal(model(image), model(changed))


def test_stages_differ_from_the_input_only_through_their_windows():
    """In stage 1, a change in one window of the image leaves the features of others alone."""
    model = AsViT("4,2,2|2,1,2|2,1,2|2,1,2|16,8").eval()
    image = torch.randn(1, 3, 64, 64)
    changed = image.clone()
    changed[..., :8, :8] += 1
    maps = [
        model.forward_intermediates(x, [0], intermediates_only=True)[0] for x in (image, changed)
    ]
    differs = (maps[0] != maps[1]).any(1)[0]
    assert differs[:8, :8].all()
    assert not differs[8:].any()
    assert not differs[:, 8:].any()


@settings(max_examples=30)
@given(
    st.integers(0, 2**32 - 1),
    st.one_of(st.sampled_from([32, 64, 96, 160, 224]), st.integers(1, 60).map(lambda n: 4 * n)),
    st.sampled_from([0, 1, 7, 1000]),
)
def test_formulas_give_what_the_network_costs(seed, side, classes):
    rng = np.random.default_rng(seed)
    depths, width = rng.integers(1, 4, 4).tolist(), int(rng.integers(8, 300))
    name = ("asvit", "asvit-parts")[rng.integers(2)]
    g = load_space(name).sample(rng).with_(depths=depths, width=width)
    try:
        network = build_on_meta(g, image_size=side, num_classes=classes)
    except ValueError as error:
        with pytest.raises(ValueError, match=re.escape(str(error))):
            asvit_cost(g, side, classes)
    else:
        assert asvit_cost(g, side, classes) == count(network, side)


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

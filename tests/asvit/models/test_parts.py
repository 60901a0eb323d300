"""Parts of an As-ViT against their definitions, and what they keep under coarser tokens."""

import math

import numpy as np
import pytest
import timm
import torch
from torch import Tensor

import asvit
from asvit.architectures.genotype import Genotype
from asvit.models.asvit import Block
from asvit.models.blocks import (
    SelfAttention,
    make_stem,
)
from tests.asvit.models.families import PARTS

TEXT = f"4,2,2|2,1,2|2,1,2|2,1,2|16,8;{PARTS}"


def pair_by_pair(attention: SelfAttention, x: Tensor) -> Tensor:
    """Attention among the tokens of a window ``[h, w, dim]``, one query and key at a time."""
    heads, size = attention.heads, attention.head_dim
    q, k, v = attention.qkv(x).unflatten(-1, (3, heads, size)).unbind(2)
    places = [*np.ndindex(x.shape[:2])]
    mixed = torch.zeros_like(q)
    for head in range(heads):
        for query in places:
            scores = [q[*query, head] @ k[*key, head] / math.sqrt(size) for key in places]
            shares = torch.stack(scores).softmax(0)
            mixed[*query, head] = sum(
                share * v[*key, head] for share, key in zip(shares, places, strict=True)
            )
    return attention.proj(mixed.flatten(2))


def neighbours(weight: Tensor, bias: Tensor, x: Tensor) -> Tensor:
    """A 3 x 3 depthwise convolution of ``[h, w, dim]``, one neighbour at a time."""
    out = bias.expand_as(x).clone()
    for r, c in np.ndindex(x.shape[:2]):
        for dr, dc in np.ndindex(3, 3):
            at = r + dr - 1, c + dc - 1
            if 0 <= at[0] < x.shape[0] and 0 <= at[1] < x.shape[1]:
                out[r, c] += weight[:, 0, dr, dc] * x[at]
    return out


@torch.no_grad()
def test_a_block_mixes_neighbours_across_windows() -> None:
    block = Block(6, 2, 12, mixing=True).double()
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(1, 4, 6, 6, dtype=torch.float64)
    expected = x[0].clone()
    normed = block.norm1(expected)
    for rows in (slice(0, 2), slice(2, 4)):
        for columns in (slice(0, 3), slice(3, 6)):
            expected[rows, columns] += pair_by_pair(block.attn, normed[rows, columns])
    norm, mlp = block.mlps[0]
    hidden = neighbours(block.inner.weight, block.inner.bias, mlp.fc1(norm(expected)))
    expected += mlp.fc2(mlp.act(hidden))
    torch.testing.assert_close(block(x, splits=2)[0], expected)


@pytest.mark.parametrize("side", [32, 45])
def test_a_deep_stem_sees_fifteen_pixels_of_a_side(side: int) -> None:
    torch.manual_seed(0)
    stem = make_stem("deep", 3, 5).eval()
    image = torch.randn(1, 3, side, side, requires_grad=True)
    tokens = stem(image)
    assert tokens.shape == (1, 5, math.ceil(side / 4), math.ceil(side / 4))
    # Three kernels of 3, of which two are on every second pixel, and a pool on their outputs.
    middle, reach = 4, 1 + 2 + 2 + 2
    (gradient,) = torch.autograd.grad(tokens[..., middle, middle].sum(), image)
    seen = gradient[0].abs().sum(0).nonzero()
    assert seen.min() >= 4 * middle - reach
    assert seen.max() <= 4 * middle + reach
    whole = torch.autograd.grad(stem(image).sum(), image)[0].abs().sum(1)
    assert (whole > 0).float().mean() > 0.9  # but what the pool leaves out


def test_timm_and_keywords_build_parts() -> None:
    text = TEXT.partition(";")[0]
    for model in (
        timm.create_model("asvit", architecture=f"{text};stem=conv,head=linear", img_size=32),
        timm.create_model("asvit_seed", genotype=f"{text};stem=conv,head=linear"),
        asvit.build(text, 32, stem="conv", head="linear"),
    ):
        assert str(model.genotype) == f"{text};stem=conv,head=linear"
        model.reset_classifier(7)
        assert model(torch.randn(2, 3, 32, 32)).shape == (2, 7)
    for stem in ("conv", "deep"):
        shift = asvit.build("shift:1,1,1,1|2|12|1|12", 32, 5, stem=stem)
        assert shift(torch.randn(2, 3, 32, 32)).shape == (2, 5)
    with pytest.raises(ValueError, match=r"has no part 'head'; it has stem$"):
        asvit.build("shift:1,1,1,1|2|12|1|12", head="linear")
    with pytest.raises(ValueError, match="mixing='both' is not allowed; use one of none, ffn"):
        asvit.build(text, mixing="both")
    with pytest.raises(ValueError, match="'timm:resnet18' has no part 'stem'; it has none"):
        asvit.build("timm:resnet18", stem="conv")


POSITIONED = f"{TEXT.partition(';')[0]};positions=absolute"


@pytest.mark.parametrize(
    ("text", "params"),
    [
        ("8,2,3,3|4,1,2,1|4,1,4,4|4,1,6,2|32,88", 29_051_296),  # published: 29.0 M
        ("8,2,3,3|4,1,2,1|4,1,4,5|4,1,6,2|32,116", 52_622_428),  # 52.6 M
        ("8,2,3,5|4,1,2,2|4,1,4,5|4,1,6,2|32,180", 88_145_300),  # 88.1 M
    ],
)
def test_embeddings_of_positions_give_the_published_sizes(text: str, params: int) -> None:
    plain, positioned = asvit.cost(text), asvit.cost(f"{text};positions=absolute")
    width = Genotype.parse(text).width
    assert positioned.params == plain.params + 56 * 56 * width == params
    assert positioned.macs == plain.macs


@torch.no_grad()
def test_positions_are_added_to_the_tokens_of_the_stem_under_the_released_name() -> None:
    model = asvit.build(POSITIONED, 32, 5).eval()
    plain = asvit.build(POSITIONED.partition(";")[0], 32, 5).eval()
    weights = model.state_dict()
    positions = weights.pop("absolute_pos_embed")
    plain.load_state_dict(weights)
    assert positions.shape == (1, 8 * 8, 8)
    assert model.no_weight_decay() == {"absolute_pos_embed"}
    plain.patch_embed.register_forward_hook(
        lambda stem, images, tokens: tokens + positions.view(1, 8, 8, 8)
    )
    image = torch.randn(2, 3, 32, 32)
    assert torch.equal(model(image), plain(image))

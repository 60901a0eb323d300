"""PSViT's layers: shared attention maps and token pooling, against loops and values by hand."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from asvit.models.blocks import SelfAttention
from asvit.models.psvit import (
    SharedAttention,
    SharingPair,
    TokenPooling1d,
    TokenPooling2d,
)


def mixed_by_loops(values: torch.Tensor, maps: list[torch.Tensor], head_dim: int) -> torch.Tensor:
    """Values ``[N, inner]`` mixed by one map ``[N, N]`` for each head."""
    parts = [m @ values[:, i * head_dim : (i + 1) * head_dim] for i, m in enumerate(maps)]
    return torch.cat(parts, dim=1)


def maps_by_loops(layer: SelfAttention, x: torch.Tensor) -> list[torch.Tensor]:
    """The maps of one image ``[N, dim]``, one query at a time."""
    inner = layer.heads * layer.head_dim
    q, k, _ = layer.qkv(x).split(inner, dim=1)
    found = []
    for head in range(layer.heads):
        own = slice(head * layer.head_dim, (head + 1) * layer.head_dim)
        rows = [(k[:, own] @ query[own] * layer.head_dim**-0.5).softmax(0) for query in q]
        found.append(torch.stack(rows))
    return found


@pytest.mark.parametrize(("dim", "heads"), [(8, 2), (10, 4), (5, 5)])
def test_attention_equals_loops_with_and_without_its_map(dim, heads):
    layer = SelfAttention(dim, heads).double()
    assert layer.proj.in_features == heads * (dim // heads)
    x = torch.randn(3, 6, dim, dtype=torch.float64)
    values = layer.qkv(x).split(layer.heads * layer.head_dim, dim=2)[2]
    maps = [maps_by_loops(layer, image) for image in x]
    expected = torch.stack(
        [
            layer.proj(mixed_by_loops(v, own, layer.head_dim))
            for v, own in zip(values, maps, strict=True)
        ]
    )
    torch.testing.assert_close(layer(x), expected)
    torch.testing.assert_close(layer(x[None]), expected[None])  # three windows of one image
    out, attention = layer.with_map(x)
    torch.testing.assert_close(out, expected)
    assert attention.shape == (3, heads, 6, 6)
    torch.testing.assert_close(attention, torch.stack([torch.stack(own) for own in maps]))
    torch.testing.assert_close(attention.sum(-1), torch.ones_like(attention[..., 0]))


@pytest.mark.parametrize(("dim", "heads"), [(8, 2), (10, 4)])
def test_shared_attention_mixes_its_own_values_by_the_map_it_is_given(dim, heads):
    layer = SharedAttention(dim, heads).double()
    x = torch.randn(3, 6, dim, dtype=torch.float64)
    attention = torch.rand(3, heads, 6, 6, dtype=torch.float64)
    expected = torch.stack(
        [
            layer.proj(mixed_by_loops(layer.v(image), list(own), dim // heads))
            for image, own in zip(x, attention, strict=True)
        ]
    )
    torch.testing.assert_close(layer(x, attention), expected)


def test_the_second_layer_of_a_pair_uses_the_map_of_the_first():
    pair = SharingPair(8, 2).double()
    x = torch.randn(2, 5, 8, dtype=torch.float64)
    attention = pair.first.attn.with_map(pair.first.norm1(x))[1]
    middle = pair.first(x)  # by the fused function
    mixed = middle + pair.second.attn(pair.second.norm1(middle), attention)
    torch.testing.assert_close(pair(x), mixed + pair.second.mlp(pair.second.norm2(mixed)))


@pytest.mark.parametrize("tokens", [8, 9])
def test_a_list_is_pooled_as_by_loops(tokens):
    layer = TokenPooling1d(4, 6).double()
    x = torch.randn(2, 1 + tokens, 4, dtype=torch.float64)
    for out, tokens_of_one in zip(layer(x), x, strict=True):
        first, *patches = map(layer.widen, tokens_of_one)
        pairs = zip(patches[::2], patches[1::2], strict=False)
        torch.testing.assert_close(out, torch.stack([first, *(a.maximum(b) for a, b in pairs)]))


@pytest.mark.parametrize(("height", "width"), [(4, 6), (5, 3), (1, 1)])
def test_a_grid_is_pooled_by_one_convolution(height, width):
    layer = TokenPooling2d(4, 6).double()
    x = torch.randn(2, height, width, 4, dtype=torch.float64)
    out = layer(x)
    assert out.shape == (2, -(-height // 2), -(-width // 2), 6)
    assert out.is_contiguous()
    padded = F.pad(x, (0, 0, 1, 1, 1, 1))
    for row, column in np.ndindex(out.shape[1:3]):
        patch = padded[:, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
        value = torch.einsum("byxc,ocyx->bo", patch, layer.widen.weight) + layer.widen.bias
        torch.testing.assert_close(out[:, row, column], value)

"""Hallucinated attention: maps against loops, head rules, formulas against the counter."""

import itertools
from typing import get_args

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asvit.models.hallucinated import (
    HallucinatedHeads,
    MapHallucination,
    Maps,
    convolve_maps,
    mix_maps,
    split_heads,
)
from proxies.counts import count


class OnImage(nn.Module):
    """A layer of tokens as one of images, so that the counter takes it."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, image: Tensor) -> Tensor:
        return self.layer.attend(image.flatten(2).transpose(1, 2), image.shape[2:])


def made_by_loops(
    layer: MapHallucination, scores: Tensor, grid: tuple[int, int], prefix: int
) -> Tensor:
    """Hallucinated maps by their definition, one score at a time; no step that is left out."""

    def within(x: Tensor) -> Tensor:
        rows, columns = grid
        mixed = x.clone()
        for b, head, n, t in itertools.product(*map(range, x.shape)):
            if t < prefix:
                continue
            row, column = divmod(t - prefix, columns)
            total = layer.intra.bias[head].clone()
            for i, j in itertools.product((-1, 0, 1), repeat=2):
                if 0 <= row + i < rows and 0 <= column + j < columns:
                    source = prefix + (row + i) * columns + column + j
                    total += layer.intra.weight[head, 0, i + 1, j + 1] * x[b, head, n, source]
            mixed[b, head, n, t] = total
        return mixed

    def across(x: Tensor) -> Tensor:
        mixed = torch.einsum("gh,bhnt->bgnt", layer.cross.weight[..., 0, 0], x)
        return mixed + layer.cross.bias[:, None, None]

    repeated = [0, 1, 0][: layer.hallucinated]
    return {
        "within_across": lambda: across(within(scores)),
        "across_within": lambda: within(across(scores)),
        "within": lambda: within(scores)[:, repeated],
        "across": lambda: across(scores),
        "copy": lambda: scores[:, repeated],
    }[layer.maps]()


@pytest.mark.parametrize("side", [1, 3])
def test_each_head_has_its_kernel_for_all_lists(side: int) -> None:
    x = torch.randn(2, 3, 5, 4, 6, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, 1, side, side, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(3, dtype=torch.float64, requires_grad=True)
    found = convolve_maps(x, weight, bias)
    each = [F.conv2d(x[:, :, i], weight, bias, padding="same", groups=3) for i in range(5)]
    expected = torch.stack(each, dim=2)
    torch.testing.assert_close(found, expected)
    back = torch.randn_like(found)
    for ours, theirs in zip(
        torch.autograd.grad(found, (x, weight, bias), back),
        torch.autograd.grad(expected, (x, weight, bias), back),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("heads", [(1, 1), (1, 2), (2, 1)])
def test_maps_mixed_across_heads_are_those_of_a_convolution(
    heads: tuple[int, int], bias: bool
) -> None:
    x = torch.randn(2, heads[0], 5, 7, dtype=torch.float64, requires_grad=True)
    cross = nn.Conv2d(*heads, 1, bias=bias).double()
    result, expected = mix_maps(x, cross), cross(x)
    torch.testing.assert_close(result, expected)
    back, sources = torch.randn_like(result), (x, *cross.parameters())
    for ours, theirs in zip(
        torch.autograd.grad(result, sources, back),
        torch.autograd.grad(expected, sources, back),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("prefix", [0, 2])
@pytest.mark.parametrize("hallucinated", [1, 3])
@pytest.mark.parametrize("maps", get_args(Maps))
@torch.no_grad()
def test_maps_are_those_of_the_definition(maps: Maps, hallucinated: int, prefix: int) -> None:
    layer = MapHallucination(2, hallucinated, maps).double()
    for conv in (layer.intra, layer.cross):
        if conv is not None:
            nn.init.normal_(conv.bias)
    scores = torch.randn(2, 2, 4, prefix + 6, dtype=torch.float64)
    both = layer(scores, (2, 3), prefix)
    assert torch.equal(both[:, :2], scores)
    torch.testing.assert_close(both[:, 2:], made_by_loops(layer, scores, (2, 3), prefix))


@pytest.mark.parametrize(
    ("heads", "rule", "kept", "split"),
    [
        (1, "double_odd", 0.5, (2, 1)),
        (3, "double_odd", 0.5, (6, 3)),
        (6, "double_odd", 1 / 3, (6, 2)),
        (6, "double_odd", 1.0, (6, 6)),
        (8, "double", 0.75, (16, 12)),
        (2, "double_odd", 0.01, (2, 1)),
    ],
)
def test_heads_and_the_real_ones(heads, rule, kept, split):
    assert split_heads(heads, rule, kept) == split


@torch.no_grad()
def test_attention_by_its_steps():
    layer = HallucinatedHeads(16, split_heads(4), prefix=1)
    x = torch.randn(2, 7, 16)
    assert [part.out_features for part in (layer.q, layer.k, layer.v)] == [8, 8, 16]
    q, k = (part(x).unflatten(2, (2, 4)).transpose(1, 2) for part in (layer.q, layer.k))
    v = layer.v(x).unflatten(2, (4, 4)).transpose(1, 2)
    scores = q @ k.transpose(2, 3) / 2
    maps = torch.cat([scores, made_by_loops(layer.hallucinate, scores, (2, 3), 1)], 1).softmax(-1)
    expected = layer.proj((maps @ v).transpose(1, 2).flatten(2))
    torch.testing.assert_close(layer.attend(x, (2, 3)), expected)


@pytest.mark.parametrize(("width", "heads", "side"), [(24, 2, 6), (16, 16, 3), (384, 12, 14)])
def test_the_published_formula_agrees_with_the_counter(width, heads, side):
    layer = HallucinatedHeads(width, split_heads(heads))
    cost = count(OnImage(layer), side, channels=width)
    n, c, h = side**2, width, heads
    assert cost.macs == 3 * n * c**2 + 1.5 * n**2 * c + 4.5 * h * n**2 + h**2 / 4 * n**2
    assert cost.params == (
        2 * (c * c // 2 + c // 2) + 2 * (c**2 + c) + 10 * h // 2 + (h // 2) ** 2 + h // 2
    )

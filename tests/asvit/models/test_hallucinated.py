"""Hallucinated attention: maps against loops, head rules, formulas against the counter."""

import itertools
from typing import get_args

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asvit.models.hallucinated import (
    HallucinatedHeads,
    HeadSplit,
    MapHallucination,
    Maps,
    TokenGrid,
    convolve_maps,
    mix_maps,
    nominal_grid,
    split_heads,
)
from proxies.counts import count


class OnImage(nn.Module):
    """A layer of tokens as one of images, so that the counter takes it."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, image: Tensor) -> Tensor:
        return self.layer.attend(image.flatten(2).transpose(1, 2), image.shape[2:])[0]


def made_by_loops(
    layer: MapHallucination, scores: Tensor, grid: tuple[int, int], prefix: int
) -> Tensor:
    """Hallucinated maps by their definition, one score at a time."""
    if layer.axis == "query":
        scores = scores.transpose(2, 3)
    rows, columns = grid
    mixed = scores.new_zeros(scores.shape)
    for b, head, n, t in itertools.product(*map(range, scores.shape)):
        kernel, bias = layer.intra.weight[head, 0], layer.intra.bias[head]
        if t < prefix:
            alone = kernel[1, 1] * scores[b, head, n, t] + bias
            mixed[b, head, n, t] = (
                scores[b, head, n, t] if layer.class_token == "identity" else alone
            )
            continue
        row, column = divmod(t - prefix, columns)
        total = bias.clone()
        for i, j in itertools.product((-1, 0, 1), repeat=2):
            if 0 <= row + i < rows and 0 <= column + j < columns:
                source = prefix + (row + i) * columns + column + j
                total += kernel[i + 1, j + 1] * scores[b, head, n, source]
        mixed[b, head, n, t] = total
    made = torch.einsum("gh,bhnt->bgnt", layer.cross.weight[..., 0, 0], mixed)
    made = made + layer.cross.bias[:, None, None]
    return made.transpose(2, 3) if layer.axis == "query" else made


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


@pytest.mark.parametrize("axis", ["key", "query"])
@pytest.mark.parametrize(
    ("prefix", "class_token"), [(0, "identity"), (2, "identity"), (1, "isolated")]
)
@torch.no_grad()
def test_maps_are_those_of_the_definition(axis, prefix, class_token):
    layer = MapHallucination(2, 3, axis=axis, class_token=class_token).double()
    nn.init.normal_(layer.intra.bias)
    nn.init.normal_(layer.cross.bias)
    shape = (4, prefix + 6) if axis == "key" else (prefix + 6, 4)
    scores = torch.randn(2, 2, *shape, dtype=torch.float64)
    maps = layer(scores, (2, 3), prefix)
    assert torch.equal(maps[:, :2], scores)
    torch.testing.assert_close(maps[:, 2:], made_by_loops(layer, scores, (2, 3), prefix))


@pytest.mark.parametrize(("prefix", "axis"), [(0, "key"), (1, "query")])
@pytest.mark.parametrize("hallucinated", [1, 2, 3])
@torch.no_grad()
def test_maps_of_ablations_are_the_steps_that_they_name(hallucinated, prefix, axis):
    scores = torch.randn(2, 2, prefix + 6, prefix + 6, dtype=torch.float64)
    made = {}
    for maps in get_args(Maps):
        layer = MapHallucination(2, hallucinated, axis=axis, maps=maps).double()
        for conv in (layer.intra, layer.cross):
            if conv is not None:
                nn.init.normal_(conv.bias)
        both = layer(scores, (2, 3), prefix)
        assert torch.equal(both[:, :2], scores)
        assert both.shape == (2, 2 + hallucinated, prefix + 6, prefix + 6)
        made[maps] = layer, both[:, 2:]

    def within(layer: MapHallucination, x: Tensor) -> Tensor:
        """The first step by the loops, with a second one that changes nothing."""
        heads = x.shape[1]
        alone = MapHallucination(heads, heads, axis=axis).double()
        alone.intra.load_state_dict(layer.intra.state_dict())
        alone.cross.weight.copy_(torch.eye(heads)[..., None, None])
        nn.init.zeros_(alone.cross.bias)
        return made_by_loops(alone, x, (2, 3), prefix)

    def across(layer: MapHallucination, x: Tensor) -> Tensor:
        mixed = torch.einsum("gh,bhnt->bgnt", layer.cross.weight[..., 0, 0], x)
        return mixed + layer.cross.bias[:, None, None]

    repeated = [0, 1, 0][:hallucinated]
    for maps, (layer, found) in made.items():
        expected = {
            "within_across": lambda one: across(one, within(one, scores)),
            "across_within": lambda one: within(one, across(one, scores)),
            "within": lambda one: within(one, scores)[:, repeated],
            "across": lambda one: across(one, scores),
            "copy": lambda _: scores[:, repeated],
        }[maps](layer)
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("heads", "rule", "kept", "split"),
    [
        (6, "double_odd", 1 / 3, (6, 2)),
        (3, "double_odd", 1 / 3, (6, 2)),
        (6, "double_odd", 1.0, (6, 6)),
        (4, "floor", 0.3, (4, 1)),
        (4, "ceil", 0.3, (4, 2)),
        (8, "double", 0.75, (16, 12)),
        (2, "floor", 0.01, (2, 1)),
        (2, "ceil", 1e-7, (2, 1)),
    ],
)
def test_another_share_of_the_heads_is_kept(heads, rule, kept, split):
    assert split_heads(heads, rule, kept) == split


@torch.no_grad()
def test_made_maps_spread_as_the_real_ones_at_the_start():
    layer = MapHallucination(64, 64)
    maps = layer(torch.randn(4, 64, 16, 256), (16, 16))
    inside = maps[:, 64:].unflatten(-1, (16, 16))[..., 1:-1, 1:-1]
    assert inside.std().item() == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize(
    ("heads", "rule", "split"),
    [
        (1, "double_odd", (2, 1)),
        (3, "double_odd", (6, 3)),
        (6, "double_odd", (6, 3)),
        (5, "double_each", (10, 5)),
        (4, "double_each", (4, 2)),
        (6, "double", (12, 6)),
        (1, "floor", (1, 1)),
        (5, "floor", (5, 2)),
        (8, "floor", (8, 4)),
        (1, "ceil", (1, 1)),
        (3, "ceil", (3, 2)),
    ],
)
def test_head_rules(heads, rule, split):
    assert split_heads(heads, rule) == split


@torch.no_grad()
def test_with_real_heads_alone_it_is_ordinary_attention():
    layer = HallucinatedHeads(12, HeadSplit(3, 3))
    assert layer.hallucinate is None
    x = torch.randn(2, 6, 12)
    q, k, v = (
        part(x).unflatten(2, (3, 4)).transpose(1, 2) for part in (layer.q, layer.k, layer.v)
    )
    expected = layer.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
    torch.testing.assert_close(layer.attend(x, (2, 3))[0], expected)


@torch.no_grad()
def test_attention_by_its_steps():
    layer = HallucinatedHeads(16, split_heads(4), prefix=1)
    x = torch.randn(2, 7, 16)
    assert [part.out_features for part in (layer.q, layer.k, layer.v)] == [8, 8, 16]
    q, k = (part(x).unflatten(2, (2, 4)).transpose(1, 2) for part in (layer.q, layer.k))
    v = layer.v(x).unflatten(2, (4, 4)).transpose(1, 2)
    scores = q @ k.transpose(2, 3) / 2
    maps = torch.cat([scores, made_by_loops(layer.hallucinate, scores, (2, 3), 1)], 1).softmax(-1)
    out, used = layer.attend(x, (2, 3))
    torch.testing.assert_close(used, maps)
    torch.testing.assert_close(out, layer.proj((maps @ v).transpose(1, 2).flatten(2)))


def test_masked_keys_are_never_looked_at():
    layer = HallucinatedHeads(8, split_heads(2))
    seen = torch.tensor([True, True, False, True])
    added = torch.zeros(4).masked_fill(~seen, float("-inf"))
    x = torch.randn(2, 4, 8)
    _, maps = layer.attend(x, (2, 2), mask=seen)
    assert not maps[..., 2].any()
    torch.testing.assert_close(layer.attend(x, (2, 2), mask=added)[1], maps)


def hallucinated_macs(n: int, c: int, h: int) -> float:
    """The published formula, for n tokens of width c and h heads."""
    return 3 * n * c**2 + 1.5 * n**2 * c + 4.5 * h * n**2 + h**2 / 4 * n**2


@pytest.mark.parametrize("axis", ["key", "query"])
@pytest.mark.parametrize(("width", "heads", "side"), [(24, 2, 6), (16, 16, 3), (384, 12, 14)])
def test_the_published_formula_agrees_with_the_counter(axis, width, heads, side):
    layer = HallucinatedHeads(width, split_heads(heads), axis=axis)
    cost = count(OnImage(layer), side, channels=width)
    n, c, h = side**2, width, heads
    assert cost.macs == hallucinated_macs(n, c, h)
    assert cost.params == (
        2 * (c * c // 2 + c // 2) + 2 * (c**2 + c) + 10 * h // 2 + (h // 2) ** 2 + h // 2
    )


def test_grids_of_tokens():
    assert [nominal_grid(n) for n in (49, 98, 7, 1, 60)] == [
        (7, 7),
        (14, 7),
        (7, 1),
        (1, 1),
        (10, 6),
    ]
    assert TokenGrid((2, 3)).shape(6) == (2, 3)
    with pytest.raises(ValueError, match="8 tokens are not a grid of 2 rows and 3 columns"):
        TokenGrid((2, 3)).shape(8)
    with pytest.raises(ValueError, match="the grid of 8 tokens is not known"):
        TokenGrid().shape(8)

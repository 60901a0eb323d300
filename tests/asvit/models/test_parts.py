"""Parts of an As-ViT against their definitions, and what they keep under coarser tokens."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest
import timm
import torch
from torch import Tensor

import asvit
from asvit.architectures.genotype import Genotype
from asvit.models import AsViT, convert, retokenize
from asvit.models.layers.asvit import GridBlock, RelativePositions
from asvit.models.layers.blocks import SelfAttention, init_mimetic
from asvit.models.retokenization import token_stages
from asvit.report.attention_maps import layer_maps
from tests.asvit.models.families import PARTS

TEXT = f"4,2,2|2,1,2|2,1,2|2,1,2|16,8;{PARTS}"


def pair_by_pair(attention: SelfAttention, x: Tensor, table: Tensor) -> Tensor:
    """Attention among the tokens of a window ``[h, w, dim]``, one query and key at a time."""
    height, width, _ = x.shape
    heads, size = attention.heads, attention.head_dim
    q, k, v = attention.qkv(x).unflatten(-1, (3, heads, size)).unbind(2)
    places = [(r, c) for r in range(height) for c in range(width)]
    mixed = torch.zeros_like(q)
    for head in range(heads):
        for query in places:
            scores = [
                q[*query, head] @ k[*key, head] / math.sqrt(size)
                + table[head, query[0] - key[0] + height - 1, query[1] - key[1] + width - 1]
                for key in places
            ]
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


@pytest.mark.parametrize("mixing", ["none", "block", "ffn", "both"])
@torch.no_grad()
def test_a_block_is_what_its_parts_say(mixing: str) -> None:
    torch.manual_seed(0)
    block = GridBlock(6, 2, 12, mixing=mixing, window=(2, 3), scale=0.3).double()
    torch.nn.init.normal_(block.positions.table)
    x = torch.randn(1, 4, 6, 6, dtype=torch.float64)
    expected = x[0].clone()
    if mixing in ("block", "both"):
        expected += neighbours(block.local.weight, block.local.bias, expected)
    normed = block.norm1(expected)
    for rows in (slice(0, 2), slice(2, 4)):
        for columns in (slice(0, 3), slice(3, 6)):
            window = pair_by_pair(block.attn, normed[rows, columns], block.positions.table)
            expected[rows, columns] += 0.3 * window
    norm, mlp = block.mlps[0]
    hidden = mlp.fc1(norm(expected))
    if mixing in ("ffn", "both"):
        hidden = neighbours(block.inner.weight, block.inner.bias, hidden)
    expected += 0.3 * mlp.fc2(mlp.act(hidden))
    torch.testing.assert_close(block(x, splits=2)[0], expected)


@torch.no_grad()
def test_biases_of_other_windows_lie_between_those_of_the_learned_one() -> None:
    positions = RelativePositions(1, (4, 5))
    rows, columns = torch.meshgrid(torch.arange(-3.0, 4), torch.arange(-4.0, 5), indexing="ij")
    positions.table.copy_((rows + 10 * columns)[None])
    for height, width in ((4, 5), (2, 3), (8, 10), (1, 1)):
        bias = positions(height, width)[0, 0].view(height, width, height, width)
        for query in np.ndindex(height, width):
            for key in np.ndindex(height, width):
                # The same share of the window; distances at its edge have the last bias.
                share = (query[0] - key[0]) * 7 / (2 * height - 1)
                across = (query[1] - key[1]) * 9 / (2 * width - 1)
                expected = float(np.clip(share, -3, 3) + 10 * np.clip(across, -4, 4))
                assert bias[*query, *key] == pytest.approx(expected, abs=1e-4)


def test_mimetic_weights_are_nearest_to_the_paper_s_products() -> None:
    """arXiv:2305.09828: Wq Wk' ~ 0.7 Z + 0.7 I in each head, Wv Wo ~ 0.4 Z - 0.4 I."""
    attention = SelfAttention(14, 3)  # heads of 4 channels, 12 in all
    torch.manual_seed(3)
    init_mimetic(attention)
    torch.manual_seed(3)
    queries, keys, values = attention.qkv.weight.detach().split(12)
    products = [q.T @ k for q, k in zip(queries.split(4), keys.split(4), strict=True)]
    products.append(values.T @ attention.proj.weight.detach().T)
    for product, (spread, diagonal, rank) in zip(
        products, [(0.7, 0.7, 4)] * 3 + [(0.4, -0.4, 12)], strict=True
    ):
        target = spread * torch.randn(14, 14) / math.sqrt(14) + diagonal * torch.eye(14)
        off = torch.linalg.matrix_norm(product - target)
        # No matrix of this rank is nearer: the values that are left out remain.
        assert torch.linalg.matrix_rank(product, rtol=1e-4) == rank
        assert off == pytest.approx(float(torch.linalg.svdvals(target)[rank:].norm()), rel=1e-4)


@torch.no_grad()
def test_attention_maps_have_the_biases() -> None:
    model = AsViT(TEXT, img_size=32).eval()
    block = model.layers[3].blocks[0]
    block.attn.qkv.weight.zero_()  # all scores are equal but for the biases
    block.positions = positions = RelativePositions(16, (2, 2))
    positions.table.normal_()
    maps = layer_maps(model, torch.randn(1, 3, 64, 64), query=(0, 0))[-1].panels
    for head, shown in enumerate(maps.values()):
        expected = positions(2, 2)[0, head, 0].softmax(0).view(2, 2)
        torch.testing.assert_close(shown, expected)


def test_conversion_keeps_biases_or_says_why_it_cannot() -> None:
    model, image = AsViT(TEXT, img_size=32).eval(), torch.randn(1, 3, 32, 32)
    converted = convert(model, attention="hallucinated", heads="floor").eval()
    torch.nn.init.normal_(converted.layers[0].blocks[0].positions.table, std=3)
    before = converted(image)
    torch.nn.init.zeros_(converted.layers[0].blocks[0].positions.table)
    assert not torch.allclose(before, converted(image))
    with pytest.raises(
        ValueError, match=r"heads='double' makes 4 heads of 2, which have position"
    ):
        convert(model, attention="hallucinated", heads="double")


@torch.no_grad()
def test_coarser_tokens_come_from_the_first_convolution() -> None:
    model = AsViT(TEXT, img_size=64, num_classes=3).eval()
    image = torch.randn(1, 3, 64, 64)
    plain = model(image)
    sides = []
    for tokens in token_stages(model):
        retokenize(model, tokens)
        sides.append(model.forward_intermediates(image, [0], intermediates_only=True)[0].shape[-1])
    assert [*map(tuple, token_stages(model))] == [(8, 7), (4, 3), (2, 1)]
    assert sides == [4, 8, 16]
    assert torch.equal(model(image), plain)


def test_biases_have_no_weight_decay() -> None:
    assert AsViT(TEXT, img_size=32).no_weight_decay() == {
        f"layers.{i}.blocks.0.positions.table" for i in range(4)
    }
    assert AsViT(TEXT.partition(";")[0]).no_weight_decay() == set()


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
    shift = asvit.build("shift:1,1,1,1|2|12|1|12", 32, 5, stem="conv-ln")
    assert shift(torch.randn(2, 3, 32, 32)).shape == (2, 5)
    with pytest.raises(ValueError, match=r"has no part 'head'; it has stem$"):
        asvit.build("shift:1,1,1,1|2|12|1|12", head="linear")
    with pytest.raises(ValueError, match="'timm:resnet18' has no part 'stem'; it has none"):
        asvit.build("timm:resnet18", stem="conv")


def test_a_mixed_network_has_parts_too() -> None:
    text = "mixed:4,2,2|2,1,2|2,1,2|2,1,2|16,24;stem=conv,mixing=both,positions=bias|ssaa|ffcc|p"
    model = asvit.build(text, 32, 5)
    assert str(model.genotype) == text
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 5)


def test_the_command_takes_parts() -> None:
    found = subprocess.run(
        [sys.executable, "-m", "asvit", "cost", TEXT, "--image-size", "64", "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    (stated,) = json.loads(found.stdout)["architectures"]
    assert stated["architecture"] == TEXT
    network = AsViT(Genotype.parse(TEXT), img_size=64)
    assert stated["params"] == sum(p.numel() for p in network.parameters())

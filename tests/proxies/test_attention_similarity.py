"""Similarity of heads: by hand, wherever maps come from."""

import math

import pytest
import timm
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

import asvit
from asvit.models import PSViT, convert
from proxies.activations import (
    contribution_cosine_similarity,
    head_similarities,
    pair_mean,
)
from tests.proxies.networks import Lambda, MultiHead

# Two heads, one query over two keys each: cos 1 for equal rows, and so on.
MAPS = torch.tensor([[[[0.5, 0.5], [1.0, 0.0]], [[0.5, 0.5], [0.0, 1.0]]]])


class Written(nn.Module):
    """Attention whose maps are what it is given; however they are computed."""

    def __init__(self, how: str, maps: Tensor = MAPS) -> None:
        super().__init__()
        self.how = how
        self.scores = maps.log().clamp_min(-1e4)

    def forward(self, x: Tensor) -> Tensor:
        scores = self.scores.expand(len(x), *self.scores.shape[1:])
        keys = scores.shape[-1]
        eye = torch.eye(keys).expand(*scores.shape[:2], keys, keys)
        if self.how == "fused":
            return F.scaled_dot_product_attention(scores, eye, eye, scale=1.0)
        softmax = {
            "torch": lambda s: torch.softmax(s, -1),
            "functional": lambda s: F.softmax(s, dim=-1),
            "method": lambda s: s.softmax(dim=-1),
            "module": nn.Softmax(dim=3),
            "wrong axis": lambda s: s.softmax(dim=1),
        }[self.how]
        return softmax(scores) @ eye


class ByHead(nn.Module):
    """A network with one attention of that kind, by name."""

    def __init__(self, how: str, maps: Tensor = MAPS, name: str = "attn") -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.name = name
        self.add_module(name, Written(how, maps))

    def forward(self, x: Tensor) -> Tensor:
        return getattr(self, self.name)(x).flatten(1)


IMAGES = torch.zeros(3, 3, 4, 4)


def vit() -> VisionTransformer:
    return VisionTransformer(img_size=16, patch_size=4, embed_dim=12, depth=2, num_heads=3)


@pytest.mark.parametrize("how", ["fused", "torch", "functional", "method", "module"])
def test_by_hand(how):
    found = head_similarities(ByHead(how), IMAGES)
    assert list(found) == ["attn"]
    # Rows are equal in the first query and orthogonal in the second.
    torch.testing.assert_close(found["attn"], torch.tensor([[1.0, 0.5], [0.5, 1.0]]))
    assert contribution_cosine_similarity(ByHead(how), IMAGES) == pytest.approx(0.5)


def test_heads_that_are_the_same_have_one():
    maps = torch.rand(1, 1, 5, 7).expand(1, 4, 5, 7)
    maps = maps / maps.sum(-1, keepdim=True)
    assert contribution_cosine_similarity(ByHead("method", maps), IMAGES) == pytest.approx(1)


def test_pairs_count_once_and_the_diagonal_does_not():
    similarity = torch.tensor([[1, 0.1, 0.2], [0.1, 1, 0.6], [0.2, 0.6, 1]])
    assert pair_mean(similarity) == pytest.approx(0.3)
    assert math.isnan(pair_mean(torch.ones(1, 1)))


@pytest.mark.parametrize(
    "make",
    [
        lambda: ByHead("wrong axis"),
        lambda: ByHead("method", name="gate_of_channels"),
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Softmax(-1)),
    ],
)
def test_other_softmaxes_are_no_attention(make):
    module = make()
    if isinstance(module, ByHead):
        module.get_submodule(module.name).__class__ = type("Plain", (Written,), {})
    with pytest.raises(ValueError, match="has no attention maps with heads"):
        head_similarities(module, IMAGES)


def test_single_heads_have_no_pair():
    one = ByHead("method", torch.full((1, 1, 2, 2), 0.5))
    assert head_similarities(one, IMAGES)["attn"].shape == (1, 1)
    with pytest.raises(ValueError, match="no attention of ByHead has two heads"):
        contribution_cosine_similarity(one, IMAGES)


@pytest.mark.parametrize(
    ("make", "side", "heads"),
    [
        (MultiHead, 8, [2]),
        (lambda: asvit.build("5,2,2|3,1,2|2,1,2|2,1,3|16", image_size=32), 32, [2, 4, 8, 16]),
        (
            # The second layer of a pair has no map of its own.
            lambda: PSViT(("bs", "b"), (12, 16), (3, 4), pooling="1d", img_size=32),
            32,
            [3, 3, 4],
        ),
        (lambda: timm.create_model("pvt_v2_b0", depths=(1, 1, 1, 1)), 32, [1, 2, 5, 8]),
        (lambda: timm.create_model("mobilevit_xxs"), 64, [4] * 9),
    ],
)
def test_maps_of_networks(make, side, heads):
    model = make()
    found = head_similarities(model, torch.randn(2, 3, side, side))
    assert [len(similarity) for similarity in found.values()] == heads
    for similarity in found.values():
        torch.testing.assert_close(similarity, similarity.T)
        torch.testing.assert_close(similarity.diagonal(), torch.ones(len(similarity)))
        assert ((similarity >= 0) & (similarity < 1 + 1e-5)).all()


def test_fused_and_written_out_agree():
    torch.manual_seed(0)
    model = vit()
    images = torch.randn(2, 3, 16, 16)
    fused = head_similarities(model, images)
    assert list(fused) == ["blocks.0.attn", "blocks.1.attn"]
    for block in model.blocks:
        block.attn.fused_attn = False
    written = head_similarities(model, images)
    for name, similarity in written.items():
        torch.testing.assert_close(similarity, fused[name])


def test_hallucinated_maps_are_compared_too():
    found = head_similarities(convert(vit(), "hallucinated"), torch.randn(2, 3, 16, 16))
    lengths = {name: len(similarity) for name, similarity in found.items()}
    assert lengths == {"blocks.0.attn": 6, "blocks.1.attn": 6}


def test_attending_twice_gives_two_names():
    block = vit().blocks

    def twice(model: nn.Module, image: Tensor) -> Tensor:
        return model.block(model.block(image.flatten(2)[..., :12]))

    found = head_similarities(Lambda(twice, block=block[0]), torch.randn(2, 3, 4, 4))
    assert list(found) == ["block.attn", "block.attn#2"]

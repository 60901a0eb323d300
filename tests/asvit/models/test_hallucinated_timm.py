"""The published converted networks as timm models."""

import pytest
import timm
import torch

import asvit
from proxies.counts import Cost, count

# Merged, by fvcore's rules at 224 px; DeiT-S has 12 heads here.
COSTS = {
    "hallucinated_deit_tiny_patch16_224": Cost(4_680_040, 1_026_155_292),
    "hallucinated_pvt_v2_b1": Cost(12_158_368, 1_806_446_592),
    "hallucinated_nextvit_small": Cost(27_255_715, 5_126_506_124),
}


@pytest.mark.parametrize("name", COSTS)
def test_merged_from_the_start_they_have_the_published_savings(name):
    with torch.device("meta"):
        model = timm.create_model(name, branches=0)
    assert count(model, rules="fvcore") == COSTS[name]
    assert model.default_cfg["architecture"] == name


def test_arguments_go_to_the_base_model_and_to_the_conversion():
    model = timm.create_model(
        "hallucinated_deit_small_patch16_224",
        img_size=32,
        depth=1,
        num_classes=3,
        ffn=False,
        axis="query",
    )
    assert model.blocks[0].attn.heads == 12
    assert model.blocks[0].attn.axis == "query"
    assert model.blocks[0].mlp.fc2.weight.shape == (384, 1536)
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 3)


def test_features():
    model = timm.create_model("hallucinated_pvt_v2_b1", features_only=True).eval()
    assert model.feature_info.channels() == [64, 128, 320, 512]
    assert [x.shape[2:] for x in model(torch.randn(1, 3, 64, 96))] == [
        (16, 24),
        (8, 12),
        (4, 6),
        (2, 3),
    ]


def test_they_are_architectures_of_every_command():
    text = "timm:hallucinated_deit_tiny_patch16_224"
    cost = asvit.cost(text, image_size=64)
    assert asvit.build(text, image_size=64, num_classes=4)(torch.randn(2, 3, 64, 64)).shape == (
        2,
        4,
    )
    assert cost.params > 4_600_000


def test_there_are_no_weights_to_load():
    with pytest.raises(ValueError, match="has no published weights; use pretrained=False"):
        timm.create_model("hallucinated_pvt_v2_b1", pretrained=True)

"""The As-ViT network as a timm model."""

import pytest
import timm
import torch
from safetensors.torch import save_file

from asvit.genotype import Genotype
from asvit.models import AsViT
from asvit.models.asvit import SIZES

SMALL = "6,2,3|3,1,2,2|2,1,2|4,1,2|16,8"
IMAGE = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


def test_the_sizes_are_registered():
    assert timm.list_models("asvit_*") == sorted(SIZES) == timm.list_models(module="asvit")
    for name, text in SIZES.items():
        with torch.device("meta"):
            model = timm.create_model(name)
        assert str(model.genotype) == text == str(Genotype.parse(text))
        assert model.default_cfg["input_size"] == (3, 224, 224)


def test_released_counts_of_the_seed():
    model = timm.create_model("asvit_seed", in_chans=1, num_classes=10, drop_path_rate=0.1)
    assert model(IMAGE[:, :1]).shape == (2, 10)
    assert sum(p.numel() for p in timm.create_model("asvit_seed").parameters()) == 2_319_624


def test_forward_is_features_then_head():
    model = AsViT(SMALL).eval()
    tokens = model.forward_features(IMAGE)
    assert tokens.shape == (2, 6, 64) == (2, 6, model.num_features)
    pooled = model.forward_head(tokens, pre_logits=True)
    torch.testing.assert_close(pooled, tokens.mean(1))
    torch.testing.assert_close(model(IMAGE), model.head[2](model.head[0](pooled).tanh()))


def test_reset_classifier():
    model = AsViT(SMALL).double()
    hidden = model.head[0].weight
    model.reset_classifier(7)
    assert model.head[0].weight is hidden  # as timm does when it loads a checkpoint
    assert model.get_classifier().weight.shape == (7, 64)
    model.reset_classifier(5, "")
    assert model(IMAGE.double()).shape == (2, 6, 5)
    with pytest.raises(ValueError, match="global_pool='token'"):
        AsViT(SMALL, global_pool="token")


def test_a_checkpoint_with_other_classes_keeps_the_hidden_layer(tmp_path):
    model = timm.create_model("asvit_seed").eval()
    save_file(model.state_dict(), tmp_path / "seed.safetensors")
    fewer = timm.create_model(
        "asvit_seed",
        pretrained=True,
        num_classes=5,
        pretrained_cfg_overlay={"file": str(tmp_path / "seed.safetensors")},
    )
    assert torch.equal(fewer.head[0].weight, model.head[0].weight)
    assert fewer(IMAGE).shape == (2, 5)

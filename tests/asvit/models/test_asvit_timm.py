"""The As-ViT network as a timm model."""

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models import group_parameters
from timm.optim import create_optimizer_v2
from torch import nn

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


def test_no_classes_leave_the_pooled_features():
    model = timm.create_model("asvit_seed", num_classes=0).eval()
    assert isinstance(model.get_classifier(), nn.Identity)
    features = model.forward_head(model.forward_features(IMAGE), pre_logits=True)
    torch.testing.assert_close(model(IMAGE), features)


def test_reset_classifier():
    model = AsViT(SMALL).double()
    hidden = model.head[0].weight
    model.reset_classifier(7)
    assert model.head[0].weight is hidden  # as timm does when it loads a checkpoint
    assert model.get_classifier().weight.shape == (7, 64)
    assert model(IMAGE.double()).shape == (2, model.num_classes) == (2, 7)
    assert abs(model.get_classifier().weight.std() - 0.02) < 0.005
    model.reset_classifier(0)
    assert model(IMAGE.double()).shape == (2, 64)
    model.reset_classifier(5, "")
    assert model(IMAGE.double()).shape == (2, 6, 5)
    with pytest.raises(ValueError, match="global_pool='max' is not one of 'avg', ''"):
        model.reset_classifier(5, "max")
    with pytest.raises(ValueError, match="global_pool='token'"):
        AsViT(SMALL, global_pool="token")


@pytest.mark.parametrize("indices", [(0, 1, 2, 3), (1, 2), (-1,), 2])
def test_features_only(indices):
    model = timm.create_model("asvit_seed", features_only=True, out_indices=indices)
    stages = {2: (2, 3), (-1,): (3,)}.get(indices, indices)
    assert model.feature_info.channels() == [32 * 2**i for i in stages]
    assert model.feature_info.reduction() == [4 * 2**i for i in stages]
    maps = model(IMAGE)
    assert [m.shape for m in maps] == [(2, 32 * 2**i, 16 >> i, 24 >> i) for i in stages]
    sum(m.sum() for m in maps).backward()
    unused = [name for name, p in model.named_parameters() if p.grad is None]
    assert unused == []


def test_intermediates():
    model = AsViT(SMALL).eval()
    final, maps = model.forward_intermediates(IMAGE, norm=True)
    torch.testing.assert_close(final, model.forward_features(IMAGE))
    torch.testing.assert_close(maps[3].flatten(2).transpose(1, 2), final)
    _, last = model.forward_intermediates(IMAGE, [3], output_fmt="NHWC")
    torch.testing.assert_close(model.norm(last[0]).flatten(1, 2), final)
    for i, level in enumerate(maps[:3]):
        early = model.forward_intermediates(
            IMAGE, [i], stop_early=True, output_fmt="NHWC", intermediates_only=True
        )
        torch.testing.assert_close(early[0].permute(0, 3, 1, 2), level)
    with pytest.raises(ValueError, match="output_fmt='NLC' is not one of"):
        model.forward_intermediates(IMAGE, output_fmt="NLC")


def test_pruned_features_equal_those_of_the_whole():
    model = AsViT(SMALL).eval()
    _, maps = model.forward_intermediates(IMAGE)
    assert model.prune_intermediate_layers([0, 2], prune_norm=True) == [0, 2]
    assert len(model.layers) == 3
    assert model.num_features == 32
    pruned = model.forward_intermediates(IMAGE, [0, 2], intermediates_only=True)
    torch.testing.assert_close(pruned, [maps[0], maps[2]])


def test_gradient_checkpointing_gives_the_same_gradients():
    model = AsViT(SMALL, drop_path_rate=0.3)
    gradients = []
    for enable in (False, True):
        model.set_grad_checkpointing(enable)
        assert all(stage.grad_checkpointing is enable for stage in model.layers)
        torch.manual_seed(0)
        model(IMAGE).square().sum().backward()
        gradients.append([p.grad.clone() for p in model.parameters()])
        model.zero_grad()
    for plain, recomputed in zip(*gradients, strict=True):
        assert torch.equal(plain, recomputed)


def test_weight_decay_spares_norms_and_biases():
    model = AsViT(SMALL)
    assert model.no_weight_decay() == set()
    for group in create_optimizer_v2(model, "adamw", lr=1e-3, weight_decay=0.05).param_groups:
        decayed = group["weight_decay"] > 0
        assert all((p.ndim > 1) is decayed for p in group["params"])


def test_parameters_group_in_the_order_of_the_network():
    model = AsViT(SMALL)
    groups = group_parameters(model, model.group_matcher())
    names = [name for layer in sorted(groups) for name in groups[layer]]
    assert sorted(names) == sorted(name for name, _ in model.named_parameters())
    order = [groups[layer][0].rpartition(".")[0] for layer in sorted(groups)]
    assert order[:4] == [
        "patch_embed.proj",
        "layers.0.blocks.0.norm1",
        "layers.0.downsample.norm",
        "layers.1.blocks.0.norm1",
    ]
    assert order[-1] == "norm" or order[-1].startswith("head")
    assert len(group_parameters(model, model.group_matcher(coarse=True))) == 6


def test_checkpoints_load_through_timm(tmp_path):
    model = timm.create_model("asvit_seed").eval()
    save_file(model.state_dict(), tmp_path / "seed.safetensors")
    again = timm.create_model("asvit_seed", checkpoint_path=str(tmp_path / "seed.safetensors"))
    assert torch.equal(again.eval()(IMAGE), model(IMAGE))
    fewer = timm.create_model(
        "asvit_seed",
        pretrained=True,
        num_classes=5,
        pretrained_cfg_overlay={"file": str(tmp_path / "seed.safetensors")},
    )
    assert torch.equal(fewer.head[0].weight, model.head[0].weight)
    assert fewer(IMAGE).shape == (2, 5)

"""PSViT as timm models."""

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.layers import resample_abs_pos_embed
from timm.models import group_parameters
from timm.optim import create_optimizer_v2
from torch import nn

from asvit.models import PSVIT_PRESETS, PSViT

IMAGE = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
SMALL = {"dims": (8, 12, 16), "heads": (2, 3, 4), "img_size": 64, "num_classes": 5}


def small(name: str = "psvit_2d_tiny", **settings) -> nn.Module:
    return timm.create_model(name, **{**SMALL, **settings})


def test_the_presets_are_registered():
    assert timm.list_models("*psvit*") == sorted(PSVIT_PRESETS)
    assert timm.list_models(module="psvit_presets") == sorted(PSVIT_PRESETS)
    for name, preset in PSVIT_PRESETS.items():
        with torch.device("meta"):
            model = timm.create_model(name)
        assert model.default_cfg["input_size"] == (3, 224, 224)
        assert model.cells == preset.cells
        assert model.dims == preset.dims
        assert model.pooling == preset.pooling


def test_settings_go_through_timm():
    model = small(in_chans=1, drop_path_rate=0.1, cells=("s", "b", "-"))
    assert model(IMAGE[:, :1]).shape == (2, 5)
    assert model.num_features == 12


@pytest.mark.parametrize("indices", [(0, 1, 2), (1, 2), (-1,), 2])
def test_a_grid_is_a_pyramid(indices):
    backbone = small(features_only=True, out_indices=indices)
    stages = {2: (1, 2), (-1,): (2,)}.get(indices, indices)
    dims = (8, 12, 16)
    assert backbone.feature_info.channels() == [dims[i] for i in stages]
    assert backbone.feature_info.reduction() == [8 * 2**i for i in stages]
    maps = backbone(torch.randn(2, 3, 64, 96))
    assert [m.shape for m in maps] == [(2, dims[i], 8 >> i, 12 >> i) for i in stages]
    sum(m.sum() for m in maps).backward()
    assert [name for name, p in backbone.named_parameters() if p.grad is None] == []


def test_a_list_is_a_map_before_it_is_pooled():
    backbone = small("psvit_1d_tiny", features_only=True)
    assert backbone.feature_info.channels() == [8]
    assert backbone.feature_info.reduction() == [16]
    (level,) = backbone(torch.randn(2, 3, 64, 96))
    assert level.shape == (2, 8, 4, 6)
    level.sum().backward()
    unused = [name for name, p in backbone.named_parameters() if p.grad is None]
    assert unused == []
    model = small("psvit_1d_tiny")
    for indices in ([1], 2, [0, 2]):
        with pytest.raises(ValueError, match=r"use 0 to 0|use 1 to 1"):
            model.forward_intermediates(IMAGE, indices)


@pytest.mark.parametrize("name", ["psvit_1d_tiny", "psvit_2d_tiny"])
def test_intermediates_are_those_of_a_whole_forward_pass(name):
    model = small(name).eval()
    prefix = model.num_prefix_tokens
    final, levels = model.forward_intermediates(IMAGE, norm=True, output_fmt="NLC")
    torch.testing.assert_close(final, model.forward_features(IMAGE))
    torch.testing.assert_close(levels[2], final[:, prefix:])
    _, maps = model.forward_intermediates(IMAGE, [0])
    torch.testing.assert_close(maps[0].flatten(2).transpose(1, 2), levels[0])
    (channels_last,) = model.forward_intermediates(
        IMAGE, [0], stop_early=True, output_fmt="NHWC", intermediates_only=True
    )
    assert torch.equal(channels_last.permute(0, 3, 1, 2), maps[0])
    with pytest.raises(ValueError, match="output_fmt='CHW' is not one of"):
        model.forward_intermediates(IMAGE, output_fmt="CHW")


def test_pruned_features_equal_those_of_the_whole():
    model = small().eval()
    _, maps = model.forward_intermediates(IMAGE)
    assert model.prune_intermediate_layers([0, 1], prune_norm=True) == [0, 1]
    assert len(model.stages) == 2
    assert model.num_features == 12
    pruned = model.forward_intermediates(IMAGE, [0, 1], intermediates_only=True)
    torch.testing.assert_close(pruned, maps[:2])


def test_the_classifier_can_be_replaced():
    model = small("psvit_1d_tiny").double()
    assert model.get_classifier() is model.head
    model.reset_classifier(7)
    assert model(IMAGE.double()).shape == (2, model.num_classes) == (2, 7)
    model.reset_classifier(0)
    assert isinstance(model.get_classifier(), nn.Identity)
    features = model.forward_head(model.forward_features(IMAGE.double()), pre_logits=True)
    assert torch.equal(model(IMAGE.double()), features)
    model.reset_classifier(4, "avg")
    assert model(IMAGE.double()).shape == (2, 4)
    model.reset_classifier(4, "")
    assert model(IMAGE.double()).shape == (2, 5, 4)
    with pytest.raises(ValueError, match="global_pool='max' is not one of 'token', 'avg', ''"):
        model.reset_classifier(4, "max")


@pytest.mark.parametrize("name", ["psvit_1d_tiny_shared", "psvit_2d_tiny"])
def test_gradient_checkpointing_gives_the_same_gradients(name):
    model = small(name, drop_path_rate=0.3)
    gradients = []
    for enable in (False, True):
        model.set_grad_checkpointing(enable)
        torch.manual_seed(0)
        model(IMAGE).square().sum().backward()
        gradients.append([p.grad.clone() for p in model.parameters()])
        model.zero_grad()
    for plain, recomputed in zip(*gradients, strict=True):
        assert torch.equal(plain, recomputed)


def test_weight_decay_spares_norms_biases_and_embeddings():
    model = small("psvit_1d_tiny")
    spared = {id(p) for n, p in model.named_parameters() if n in model.no_weight_decay()}
    assert len(spared) == 2
    for group in create_optimizer_v2(model, "adamw", lr=1e-3, weight_decay=0.05).param_groups:
        decayed = group["weight_decay"] > 0
        assert all((p.ndim > 1 and id(p) not in spared) is decayed for p in group["params"])


def test_parameters_group_in_the_order_of_the_network():
    model = small("psvit_1d_tiny", cells=("b", "s", "b"))
    groups = group_parameters(model, model.group_matcher())
    order = [groups[layer][0] for layer in sorted(groups)]
    starts = ["patch_embed", "stages.0.cells.0", "stages.1.downsample", "stages.1.cells.0"]
    starts += ["stages.2.downsample", "stages.2.cells.0"]
    for name, start in zip(order, starts, strict=False):
        assert name.startswith(start)
    assert all(name.startswith(("norm", "head")) for name in order[len(starts) :])
    names = [name for layer in groups for name in groups[layer]]
    assert sorted(names) == sorted(name for name, _ in model.named_parameters())
    assert len(group_parameters(model, model.group_matcher(coarse=True))) == 5


@pytest.mark.parametrize("name", ["psvit_1d_tiny", "psvit_2d_tiny"])
def test_checkpoints_load_at_another_image_size(tmp_path, name):
    model = small(name).eval()
    file = tmp_path / "tiny.safetensors"
    save_file(model.state_dict(), file)
    again = small(name, checkpoint_path=str(file)).eval()
    assert torch.equal(again(IMAGE), model(IMAGE))
    larger = small(
        name, img_size=96, pretrained=True, pretrained_cfg_overlay={"file": str(file)}
    ).eval()
    prefix = model.num_prefix_tokens
    side = 96 // model.patch_size
    positions = resample_abs_pos_embed(
        model.patch_embed.pos_embed, [side, side], num_prefix_tokens=prefix
    )
    torch.testing.assert_close(larger.patch_embed.pos_embed, positions)
    image = torch.randn(1, 3, 96, 96)
    # timm leaves the classifier out: the configuration has 1000 classes.
    torch.testing.assert_close(larger.forward_features(image), model.forward_features(image))


def test_the_network_is_public():
    assert isinstance(small(), PSViT)

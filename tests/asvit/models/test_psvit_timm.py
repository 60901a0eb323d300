"""PSViT as timm models."""

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.layers import resample_abs_pos_embed
from torch import nn

IMAGE = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
SMALL = {"dims": (8, 12, 16), "heads": (2, 3, 4), "img_size": 64, "num_classes": 5}


def small(name: str = "psvit_2d_tiny", **settings) -> nn.Module:
    return timm.create_model(name, **{**SMALL, **settings})


def test_settings_go_through_timm():
    model = small(in_chans=1, drop_path_rate=0.1, cells=("s", "b", "-"))
    assert model(IMAGE[:, :1]).shape == (2, 5)
    assert model.num_features == 12


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
def test_every_stage_gives_its_tokens(name):
    model = small(name).eval()
    prefix = model.num_prefix_tokens
    final, levels = model.forward_intermediates(IMAGE, norm=True, output_fmt="NLC")
    torch.testing.assert_close(levels[2], final[:, prefix:])
    _, maps = model.forward_intermediates(IMAGE, [0])
    torch.testing.assert_close(maps[0].flatten(2).transpose(1, 2), levels[0])


@pytest.mark.parametrize("name", ["psvit_1d_tiny", "psvit_2d_tiny"])
def test_checkpoints_load_at_another_image_size(tmp_path, name):
    model = small(name).eval()
    file = tmp_path / "tiny.safetensors"
    save_file(model.state_dict(), file)
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

"""timm's models by name."""

import pytest
import timm
import torch
from timm.layers import DropPath

from asvit.spaces.families import TimmModel, is_timm_model


@pytest.mark.parametrize("name", ["deit_tiny_patch16_224", "resnet10t", "convnext_atto"])
def test_models_take_the_image_size_asked_for(name):
    model = TimmModel(name).build(image_size=64, num_classes=5).eval()
    assert model(torch.randn(1, 3, 64, 64)).shape == (1, 5)


def test_tags_are_known_and_nothing_is_downloaded():
    assert is_timm_model("vit_tiny_patch16_224.augreg_in21k")
    assert TimmModel("vit_tiny_patch16_224.augreg_in21k").build().num_classes == 1000


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("deit_tny_patch16_224", "did you mean 'timm:deit_tiny_patch16_224'"),
        ("", "timm has no model ''; see asvit list models"),
        ("hf-hub:timm/resnet18.a1_in1k", "timm has no model 'hf-hub"),
        ("resnet18.nope", r"timm has no model 'resnet18\.nope'; did you mean 'timm:resnet18'"),
    ],
)
def test_names_that_timm_does_not_have(name, message):
    with pytest.raises(ValueError, match=message):
        TimmModel(name)


def test_a_model_that_refuses_its_images_is_a_value_error(monkeypatch):
    def refuse(name, **settings):
        raise AssertionError(f"bad size {settings['img_size']}")

    monkeypatch.setattr(timm, "create_model", refuse)
    with pytest.raises(
        ValueError, match="'vit_tiny_patch16_224' cannot take 100 px: bad size 100"
    ):
        TimmModel("vit_tiny_patch16_224").build(image_size=100)


def test_a_model_without_drop_path_takes_none_but_0():
    vgg = TimmModel("vgg11")
    vgg.build(image_size=32, num_classes=5, drop_path=0.0)
    with pytest.raises(ValueError, match="timm model 'vgg11' has no drop-path; use 0"):
        vgg.build(image_size=32, num_classes=5, drop_path=0.1)


def test_drop_path_of_0_stands_against_the_model_s_own():
    own, none = (
        [
            m.drop_prob
            for m in TimmModel("shiftvit_light_tiny").build(**rates).modules()
            if isinstance(m, DropPath)
        ]
        for rates in ({}, {"drop_path": 0.0})
    )
    assert max(own) == pytest.approx(0.2)
    assert max(none, default=0) == 0

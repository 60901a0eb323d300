"""timm's models by name."""

import pytest
import timm
import torch
from timm.layers import DropPath

from asvit.spaces.hosts import build_host, is_host


@pytest.mark.parametrize("name", ["deit_tiny_patch16_224", "resnet10t", "convnext_atto"])
def test_models_take_the_image_size_asked_for(name):
    model = build_host(name, image_size=64, num_classes=5).eval()
    assert model(torch.randn(1, 3, 64, 64)).shape == (1, 5)


def test_tags_are_known_and_nothing_is_downloaded():
    assert is_host("vit_tiny_patch16_224.augreg_in21k")
    assert build_host("vit_tiny_patch16_224.augreg_in21k").num_classes == 1000


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("deit_tny_patch16_224", "did you mean 'timm:deit_tiny_patch16_224'"),
        ("", "timm has no model ''; asvit list models has the names"),
        ("hf-hub:timm/resnet18.a1_in1k", "timm has no model 'hf-hub"),
        ("resnet18.nope", r"timm has no model 'resnet18\.nope'; did you mean 'timm:resnet18'"),
    ],
)
def test_names_that_timm_does_not_have(name, message):
    with pytest.raises(ValueError, match=message):
        build_host(name)


def test_a_model_that_refuses_its_images_is_a_value_error(monkeypatch):
    def refuse(name, **settings):
        raise AssertionError(f"bad size {settings['img_size']}")

    monkeypatch.setattr(timm, "create_model", refuse)
    with pytest.raises(
        ValueError, match="'vit_tiny_patch16_224' cannot take 100 px: bad size 100"
    ):
        build_host("vit_tiny_patch16_224", image_size=100)


def test_a_model_without_drop_path_takes_none_but_0():
    build_host("vgg11", image_size=32, num_classes=5, drop_path=0.0)
    with pytest.raises(ValueError, match="timm model 'vgg11' has no drop-path; use 0"):
        build_host("vgg11", image_size=32, num_classes=5, drop_path=0.1)


def test_drop_path_of_0_stands_against_the_model_s_own():
    own, none = (
        [
            m.drop_prob
            for m in build_host("shiftvit_light_tiny", **rates).modules()
            if isinstance(m, DropPath)
        ]
        for rates in ({}, {"drop_path": 0.0})
    )
    assert max(own) == pytest.approx(0.2)
    assert max(none, default=0) == 0

"""timm's models by name; no name leads to a file, a program or the network."""

import pytest
import torch
from timm.layers import DropPath

from asvit.spaces import build, cost
from asvit.spaces.architectures import canonical
from asvit.spaces.timm_models import TimmModel
from proxies.counts import Cost


@pytest.mark.parametrize("name", ["deit_tiny_patch16_224", "resnet10t", "convnext_atto"])
def test_models_take_the_image_size_asked_for(name):
    model = TimmModel(name).build(image_size=64, num_classes=5).eval()
    assert model(torch.randn(1, 3, 64, 64)).shape == (1, 5)


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


def test_a_model_without_drop_path_takes_none_but_0():
    dla = TimmModel("dla46_c")
    dla.build(image_size=32, num_classes=5, drop_path_rate=0.0)
    with pytest.raises(ValueError, match="timm:dla46_c has no drop-path; use 0"):
        dla.build(image_size=32, num_classes=5, drop_path_rate=0.1)


def test_drop_path_of_0_stands_against_the_model_s_own():
    own, none = (
        [
            m.drop_prob
            for m in TimmModel("shiftvit_light_tiny").build(**rates).modules()
            if isinstance(m, DropPath)
        ]
        for rates in ({}, {"drop_path_rate": 0.0})
    )
    assert max(own) == pytest.approx(0.2)
    assert max(none, default=0) == 0


@pytest.fixture
def went(monkeypatch: pytest.MonkeyPatch, network_calls: list[object]) -> list[object]:
    """Every try to reach the network, or to ask timm's hub for anything."""
    for name in ("load_model_config_from_hf", "load_model_config_from_path"):
        monkeypatch.setattr(f"timm.models._factory.{name}", network_calls.append)
    return network_calls


def test_arguments_of_a_model_are_part_of_its_text():
    text = "timm:shiftvit_r2_tiny(depths=[4,5,12,4],ratio=3)"
    assert canonical("timm:shiftvit_r2_tiny( ratio=3, depths=(4, 5,12,4) )") == text
    # Fewer expansions and more blocks at the same cost; counted by hand from the shapes.
    assert cost(text) == Cost(28_478_920, 4_523_833_344)
    assert cost("timm:shiftvit_r2_tiny(depths=[12,16,35,12],ratio=1)").params == 28_311_112
    model = build("timm:shiftvit_r2_tiny(step=2,n_div=8,depths=[1,1,1,1])", 32, 3)
    shifts = [block.shift for layer in model.layers for block in layer.blocks]
    assert {(shift.step, shift.n_div) for shift in shifts} == {(2, 8)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            "foo=1",
            r"\(foo=1\) cannot be built for 32 px: .*unexpected keyword argument 'foo'",
        ),
        ("step=x", r"cannot be built for 32 px: "),
        ("depths=[-1,1,1,1]", r"cannot be built for 32 px: "),
        ("global_pool=True", r"cannot be built for 32 px: "),
        ("num_classes=2", r"num_classes in .* is an option.s; leave it out"),
        ("pretrained=True", r"pretrained in .* is an option.s"),
        ("checkpoint_path='x'", r"checkpoint_path in .* is an option.s"),
        ("norm_layer=nope", r"'nope'"),
    ],
)
def test_arguments_that_a_model_does_not_take(arguments, message, went):
    with pytest.raises(ValueError, match=message):
        build(f"timm:shiftvit_r2_tiny({arguments})", 32, 3)
    assert went == []

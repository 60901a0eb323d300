"""timm's models by name; no name leads to a file, a program or the network."""

import pytest
from timm.layers import DropPath

import asvit
from asvit.spaces import build, cost, load_space
from asvit.spaces.architectures import canonical, choice_features, find
from asvit.spaces.timm_models import TimmModel
from proxies.counts import Cost


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


def test_texts_of_one_network_belong_to_the_family_with_their_parts() -> None:
    space = load_space("families")
    for name in ("resnet", "resnet-parts"):
        arch = space.parse(load_space(name).by_hand[0])
        assert space.family_of(arch) == name
    with pytest.raises(ValueError, match=r"act_layer=gelu.* is not timm:resnet10t"):
        space.parse(load_space("resnet-parts").by_hand[0].replace("silu", "gelu"))


def test_options_of_another_kind_than_the_choices_are_timm_s_alone() -> None:
    swin = load_space("swin").by_hand[0]
    assert choice_features(swin)[0] == "swin"
    assert choice_features(swin.replace("window_size=4", "window_size=[4,4]")) == ("timm", {})


def test_patches_fill_the_image() -> None:
    space = load_space("deit")
    coarse, fine = (space.from_values((3, patch)) for patch in (16, 8))
    space.check(fine, 40)
    refusal = "^patches of 16 px do not fill an image side of 40 px; use 32 or 48 px$"
    with pytest.raises(ValueError, match=refusal):
        space.check(str(coarse), 40)
    with pytest.raises(ValueError, match=refusal):
        space.build(coarse, image_size=40)


PIT = "pit:32,4|2,6,4|2,4,8"
AUTOFORMER = "autoformer:48|3,4|3.5,4"


def test_a_pit_is_timm_s_where_timm_has_it():
    ours, theirs = asvit.build(PIT), asvit.build("timm:pit_ti_224")
    shapes = [
        {name: tensor.shape for name, tensor in model.state_dict().items()}
        for model in (ours, theirs)
    ]
    assert shapes[0] == shapes[1]
    assert asvit.cost(PIT) == asvit.cost("timm:pit_ti_224")


def test_every_block_of_an_autoformer_has_its_own_heads_and_ratio():
    model = asvit.build(AUTOFORMER, image_size=32, num_classes=5)
    assert [block.attn.num_heads for block in model.blocks] == [3, 4]
    assert [block.attn.head_dim for block in model.blocks] == [16, 12]
    assert [block.attn.scale for block in model.blocks] == [16**-0.5, 12**-0.5]
    # whatever the heads, queries, keys and values are as wide as the network
    assert [block.attn.qkv.out_features for block in model.blocks] == [144, 144]
    assert [block.mlp.fc1.out_features for block in model.blocks] == [168, 192]
    # drawn like timm's own, not like torch's linear layers
    assert float(model.blocks[1].mlp.fc1.weight.detach().std()) == pytest.approx(0.02, rel=0.1)


def test_heads_of_the_autoformer_paper_have_64_channels_whatever_the_width():
    """Its space of small networks is 320, 384 or 448 wide, with 5 to 7 heads."""
    model = asvit.build("autoformer:448,64|6,5,7|4,3,3.5", image_size=32, num_classes=5)
    attentions = [block.attn for block in model.blocks]
    assert [one.num_heads for one in attentions] == [6, 5, 7]
    assert [one.scale for one in attentions] == [64**-0.5] * 3
    assert [one.qkv.weight.shape for one in attentions] == [(1152, 448), (960, 448), (1344, 448)]
    assert [one.proj.weight.shape for one in attentions] == [(448, 384), (448, 320), (448, 448)]
    assert all(one.qkv.bias is not None for one in attentions)
    for one in attentions:  # drawn like timm's own
        assert float(one.qkv.weight.detach().std()) == pytest.approx(0.02, rel=0.1)
    assert asvit.cost("autoformer:192|3,3|4,4") == asvit.cost("autoformer:192,64|3,3|4,4")


def test_they_belong_to_no_space_and_have_their_own_depths_and_width():
    with pytest.raises(ValueError, match="has its own depths and width"):
        asvit.build(PIT, width=8)
    with pytest.raises(ValueError, match=r"'pit:32,4.* belongs to no search space; use one"):
        find(PIT)

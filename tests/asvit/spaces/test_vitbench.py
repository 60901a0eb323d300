"""PiT and AutoFormer from their texts."""

import json
from functools import partial

import pytest
import torch
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import asvit
from asvit.cli.app import app
from asvit.spaces.architectures import canonical, find, is_fixed, parse
from asvit.spaces.vitbench import AutoFormerArchitecture, PitArchitecture
from proxies import measure

PIT = "pit:32,4|2,6,4|2,4,8"
AUTOFORMER = "autoformer:48|3,4|3.5,4"

ratios = st.one_of(st.integers(1, 64).map(float), st.floats(0.125, 64).map(lambda x: round(x, 3)))
counts = st.integers(1, 6)


@st.composite
def pits(draw):
    first, second, third = draw(counts), draw(counts), draw(counts)
    heads = (first, first * second, first * second * third)
    depths = tuple(draw(st.lists(counts, min_size=3, max_size=3)))
    return PitArchitecture(draw(st.integers(1, 64)), draw(ratios), depths, heads)


def test_ratios_have_the_decimals_of_texts() -> None:
    for arch in (
        PitArchitecture(32, 10 / 3, (2, 6, 4), (2, 4, 8)),
        AutoFormerArchitecture(48, (3,), (10 / 3,)),
    ):
        assert "3.333333" in str(arch)
        assert type(arch).parse(str(arch)) == arch


@st.composite
def autoformers(draw):
    heads = tuple(draw(st.lists(st.sampled_from([1, 2, 3, 4, 6, 12]), min_size=1, max_size=20)))
    own = draw(st.lists(ratios, min_size=len(heads), max_size=len(heads)))
    of_each = draw(st.sampled_from([0, 1, 5, 64]))
    return AutoFormerArchitecture(12 * draw(st.integers(1, 40)), heads, tuple(own), of_each)


@given(st.one_of(pits(), autoformers()))
def test_texts_are_read_back(architecture):
    assert parse(str(architecture)) == architecture
    assert canonical(str(architecture)) == str(architecture)


def test_canonical_texts_have_no_spaces_and_no_needless_zeros():
    assert canonical("pit: 32 , 4.0 | 2,6,4 |2, 4, 8") == PIT
    assert canonical("autoformer:48|3,4|3.50,4.0") == AUTOFORMER


def test_a_pit_is_timm_s_where_timm_has_it():
    ours, theirs = asvit.build(PIT), asvit.build("timm:pit_ti_224")
    shapes = [
        {name: tensor.shape for name, tensor in model.state_dict().items()}
        for model in (ours, theirs)
    ]
    assert shapes[0] == shapes[1]
    assert asvit.cost(PIT) == asvit.cost("timm:pit_ti_224")


def test_an_autoformer_of_like_blocks_is_a_plain_vision_transformer():
    like = f"autoformer:192|{','.join('3' * 12)}|{','.join('4' * 12)}"
    plain = asvit.cost("timm:deit_tiny_patch16_224")
    assert asvit.cost(like) == plain


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
    shared, own = "autoformer:192|3,3|4,4", "autoformer:192,64|3,3|4,4"
    shapes = [
        {name: one.shape for name, one in asvit.build(text, 32).state_dict().items()}
        for text in (shared, own)
    ]
    assert shapes[0] == shapes[1]
    assert asvit.cost(shared) == asvit.cost(own)


def test_the_feature_of_an_autoformer_is_the_mean_over_patches():
    model = asvit.build(AUTOFORMER, image_size=48, num_classes=5).eval()
    tokens = model.forward_features(torch.randn(2, 3, 48, 48))
    assert tokens.shape == (2, 10, 48)
    feature = model.forward_head(tokens, pre_logits=True)
    torch.testing.assert_close(feature, tokens[:, 1:].mean(1))


@pytest.mark.parametrize("text", ["pit:8,2|1,1,2|1,2,4", AUTOFORMER, "autoformer:48,8|3,5|3.5,4"])
@pytest.mark.parametrize("side", [32, 40])
def test_networks_take_the_images_they_were_built_for(text, side):
    model = asvit.build(text, image_size=side, num_classes=7)
    assert model(torch.randn(2, 3, side, side)).shape == (2, 7)
    headless = asvit.build(text, image_size=side, num_classes=0)
    assert headless(torch.randn(2, 3, side, side)).shape[1] in (32, 48)
    names = ["length_distortion", "ntk_condition_number", "params"]
    build = partial(asvit.build, text, image_size=side)
    scores = measure(build, names, repeats=1, image_size=side, key=text)
    assert all(score.valid for score in scores.values())
    assert scores["params"].value == asvit.cost(text, image_size=side).params


def test_they_belong_to_no_space_and_have_their_own_depths_and_width():
    assert is_fixed(PIT)
    with pytest.raises(ValueError, match="has its own depths and width"):
        asvit.build(PIT, width=8)
    with pytest.raises(ValueError, match=r"'pit:32,4.* belongs to no search space; use one"):
        find(PIT)


def test_the_commands_take_them():
    result = CliRunner().invoke(app, ["cost", "pit:32,4.0|2,6,4|2,4,8", "--json"])
    (counted,) = json.loads(result.stdout)["architectures"]
    assert counted["architecture"] == PIT
    assert counted["params"] == 4_847_272
    wrong = CliRunner().invoke(app, ["score", "pit:32,4|2,6|2,4,8"])
    assert wrong.exit_code == 2
    assert "give one for each of 3 stages" in wrong.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pit:32,4|2,6,4", r"'pit:32,4\|2,6,4' is not pit:BASE_DIM,MLP_RATIO\|D1,D2,D3\|H1"),
        ("pit:32|2,6,4|2,4,8", "is not pit:BASE_DIM,MLP_RATIO"),
        ("pit:32,4|2,6|2,4,8", "has 2 depths; give one for each of 3 stages"),
        ("pit:32,4|2,6,4|2,4,8,8", "has 4 heads; give one for each of 3 stages"),
        ("pit:32,4|2,6,4|2,4,6", "6 heads after 4; .* use a multiple of 4"),
        ("pit:x,4|2,6,4|2,4,8", "'x' in 'pit:x.*' is not a whole number of up to 5 digits"),
        ("pit:32,-4|2,6,4|2,4,8", "'-4' in .* is not a number such as 4 or 3.5"),
        ("pit:32,4|2,0,4|2,4,8", "depth=0 is not allowed; use 1 to 256"),
        ("pit:9999,4|2,6,4|2,4,8", "base_dim=9999 is not allowed; use 1 to 4096"),
        ("autoformer:192|3,4", r"is not autoformer:WIDTH\|H1,H2,...\|R1,R2,..."),
        ("autoformer:192,4,4|3|4", r"is not autoformer:WIDTH"),
        ("autoformer:192,9999|3|4", "width of a head=9999 is not allowed; use 1 to 4096"),
        ("autoformer:448|6|4", "use 4 or 7, or give the width of a head as in autoformer:448,64"),
        ("autoformer:192|3,4|4", "has heads for 2 blocks and ratios for 1; give both"),
        ("autoformer:192|3,5|4,4", "5 heads do not divide a width of 192; use 4 or 6"),
        ("autoformer:8|9|4", "9 heads do not divide a width of 8; use 8"),
        ("autoformer:192|3|1_0", "'1_0' in .* is not a number"),
        ("autoformer:192|3|0.01", "mlp_ratio=0.01 is not allowed; use 0.125 to 64"),
        ("autoformer:192|3|64.000001", "mlp_ratio=64.000001 is not allowed; use 0.125 to 64"),
        ("autoformer:192||", "'' in 'autoformer:192||' is not a whole number"),
    ],
)
def test_what_is_no_architecture(text, message):
    for use in (asvit.build, asvit.cost, canonical):
        with pytest.raises(ValueError, match=message) as error:
            use(text)
        assert "\n" not in str(error.value)


def test_an_image_smaller_than_a_patch():
    for text in (PIT, AUTOFORMER):
        with pytest.raises(ValueError, match="cannot take 8 px: a patch has 16; use a larger"):
            asvit.build(text, image_size=8)


@pytest.mark.parametrize("family", [PitArchitecture, AutoFormerArchitecture])
def test_a_text_of_another_family(family):
    with pytest.raises(ValueError, match=rf"'vit:1\|2\|3' is not {family.prefix}"):
        family.parse("vit:1|2|3")

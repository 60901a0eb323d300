"""PiT and AutoFormer from their texts."""

import pytest

import asvit
from asvit.spaces.architectures import find

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
    shared, own = "autoformer:192|3,3|4,4", "autoformer:192,64|3,3|4,4"
    shapes = [
        {name: one.shape for name, one in asvit.build(text, 32).state_dict().items()}
        for text in (shared, own)
    ]
    assert shapes[0] == shapes[1]
    assert asvit.cost(shared) == asvit.cost(own)


def test_they_belong_to_no_space_and_have_their_own_depths_and_width():
    with pytest.raises(ValueError, match="has its own depths and width"):
        asvit.build(PIT, width=8)
    with pytest.raises(ValueError, match=r"'pit:32,4.* belongs to no search space; use one"):
        find(PIT)

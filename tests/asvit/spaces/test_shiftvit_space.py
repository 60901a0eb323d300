"""The ShiftViT space: its texts and its choices."""

import pytest

import asvit
from asvit.architectures.shiftvit import ShiftArchitecture
from asvit.spaces import load_space

LIGHT = "shift:2,2,6,2|4|12|1|96"  # Shift-T/light


def test_growing_keeps_the_rest():
    arch = ShiftArchitecture.parse(LIGHT)
    assert str(arch.with_(depths=[6, 8, 18, 6])) == "shift:6,8,18,6|4|12|1|96"
    assert str(arch.with_(width=128)) == "shift:2,2,6,2|4|12|1|128"
    assert arch.with_() == arch
    with pytest.raises(ValueError, match="width=0 is not allowed"):
        arch.with_(width=0)


def test_the_choices():
    space = load_space("shiftvit")
    assert space.size == 81 * 4 * 4 * 2 == 2592
    assert space.dimensions["R"] == (1, 2, 3, 4)
    assert space.dimensions["N"] == (20, 16, 12, 8)
    assert space.dimensions["S"] == (1, 2)
    params = {"L1": 2, "L2": 2, "L3": 6, "L4": 2, "R": 4, "N": 12, "S": 1}
    assert space.decode(params) == ShiftArchitecture.parse(LIGHT).with_(width=48)
    assert space.encode(ShiftArchitecture.parse(LIGHT)) == params


def test_grown_and_ablated_ones_can_be_built_but_not_encoded():
    space = load_space("shiftvit")
    assert asvit.cost("shift:6,8,18,6|2|12|1|96") == asvit.cost("timm:shiftvit_r2_tiny")
    with pytest.raises(ValueError, match="L1=6 is not in space 'shiftvit'"):
        space.encode(space.parse("shift:6,8,18,6|2|12|1|96"))
    with pytest.raises(ValueError, match=r"S=0 is not in space 'shiftvit'; use one of \[1, 2\]"):
        space.encode(space.parse("shift:2,2,6,2|2|12|0|96"))


def test_build_takes_everything_from_the_text_or_grows_it():
    model = asvit.build("shift:1,2,1,1|1.5|8|2|20", 64, 7, depths=(1, 1, 2, 1), width=24)
    assert [len(stage.blocks) for stage in model.layers] == [1, 1, 2, 1]
    block = model.layers[1].blocks[0]
    assert block.mlp.fc1.weight.shape == (72, 48, 1, 1)
    assert (block.shift.n_div, block.shift.step) == (8, 2)
    assert model.num_classes == 7

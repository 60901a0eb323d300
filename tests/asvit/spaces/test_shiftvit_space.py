"""The ShiftViT space: its texts and its choices."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import asvit
from asvit.architectures.shiftvit import ShiftArchitecture
from asvit.spaces import load_space

LIGHT = "shift:2,2,6,2|4|12|1|96"  # Shift-T/light
TINY = "shift:1,2,2,1|2|8|1|16"

architectures = st.builds(
    ShiftArchitecture,
    depths=st.tuples(*[st.integers(1, 256)] * 4),
    ratio=st.integers(1, 64) | st.floats(1, 64).map(lambda ratio: round(ratio, 6)),
    n_div=st.integers(4, 1024),
    step=st.integers(0, 256),
    width=st.integers(1, 1024),
)


@given(architectures)
def test_the_text_says_it_all(arch):
    assert ShiftArchitecture.parse(str(arch)) == arch
    assert str(ShiftArchitecture.parse(str(arch))) == str(arch)


def test_spaces_and_whole_ratios_do_not_count():
    assert str(ShiftArchitecture.parse("shift: 2,2, 6,2 |4.00| 12|01|96 ")) == LIGHT
    assert str(ShiftArchitecture.parse("shift:2,2,6,2|1.50|12|0|96")).startswith(
        "shift:2,2,6,2|1.5|"
    )


@pytest.mark.parametrize(
    "text",
    [
        "shift:2,2,6,2|4|12|1",
        "2,2,6,2|4|12|1|96",
        "shift:2,2,6,2.0|4|12|1|96",
        "shift:2,2,6,2|.5|12|1|96",
        "shift:2,2,6,2|4|12|1|٩",
        "shift:2,2,6,2|4|12|1|96\n",
        "shift:2,2,6,2|4|12|1|1" + 5000 * "0",
        "",
    ],
)
def test_malformed_texts_are_refused(text):
    with pytest.raises(ValueError, match=r"is not shift:.*as in shift:2,2,6,2\|4") as refusal:
        ShiftArchitecture.parse(text)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 400


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("shift:2,2,0,2|4|12|1|96", "depth=0 is not allowed; use a whole number from 1 to 256"),
        ("shift:2,2,6,2|0.5|12|1|96", "ratio=0.5 is not allowed; use 1 to 64"),
        ("shift:2,2,6,2|64.000001|12|1|96", "ratio=64.000001 is not allowed; use 1 to 64"),
        ("shift:2,2,6,2|4|3|1|96", "n_div=3 is not allowed; use a whole number from 4 to 1024"),
        ("shift:2,2,6,2|4|12|257|96", "step=257 is not allowed; use a whole number from 0 to 256"),
        (
            "shift:2,2,6,2|4|12|1|1025",
            "width=1025 is not allowed; use a whole number from 1 to 1024",
        ),
    ],
)
def test_values_out_of_range_are_refused(text, told):
    with pytest.raises(ValueError, match=told):
        ShiftArchitecture.parse(text)


def test_values_of_the_wrong_kind_are_refused():
    with pytest.raises(ValueError, match=r"width=48.5 is not allowed; use a whole number"):
        ShiftArchitecture((1, 1, 1, 1), width=48.5)
    with pytest.raises(ValueError, match="depths has 3 value"):
        ShiftArchitecture((1, 1, 1))
    with pytest.raises(ValueError, match="ratio=nan is not allowed"):
        ShiftArchitecture((1, 1, 1, 1), ratio=float("nan"))


def test_a_ratio_has_the_decimals_of_its_text():
    arch = ShiftArchitecture((1, 1, 1, 1), ratio=8 / 3)
    assert str(arch) == "shift:1,1,1,1|2.666667|12|1|48"
    assert ShiftArchitecture.parse(str(arch)) == arch


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


def test_images_too_small_are_refused():
    with pytest.raises(ValueError, match="image of 31 px leaves stage 4 no position; use 32 px"):
        asvit.build(TINY, image_size=31)


def test_shifts_that_leave_no_channel_are_refused():
    all_move = "shift:1,1,1,1|2|4|1|8"
    with pytest.raises(ValueError, match=r"sides of 1 at 32 px, .* above 4, or 64 px$"):
        asvit.build(all_move, image_size=32)
    network = asvit.build("timm:shiftvit_r2_tiny(depths=[1,1,1,1],n_div=4,width=8)", 32)
    with pytest.raises(ValueError, match="with sides of at least 64 px"):
        network(torch.rand(2, 3, 32, 32))
    for text, side in ((all_move, 64), ("shift:1,1,1,1|2|5|1|8", 32)):
        model = asvit.build(text, image_size=side).eval()
        first, second = model(torch.rand(2, 3, side, side))
        assert not torch.equal(first, second)

"""Which feature maps networks have for a pyramid, and which images they take."""

import pytest
import timm
from torch import nn

import asvit
from asvit.networks.levels import chosen_of, levels_of, multiply_windows, takes_any_size

AS_VIT = "8,4,2|4,2,2|2,1,2|2,1,2|16,16"
SHIFT_VIT = "shift:1,1,1,1|2|12|1|24"


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("resnet10t", (1, 2, 3, 4)),  # of stride 2 to 32
        ("convnext_atto", (0, 1, 2, 3)),
        ("pit_ti_224", (0, 1, 2)),
    ],
)
def test_the_last_map_of_every_stride_from_4_on(name: str, places: tuple[int, ...]) -> None:
    levels = levels_of(timm.create_model(name))
    assert tuple(level.place for level in levels) == places
    assert levels[-1].stride == 32


def test_of_layers_with_one_stride_the_last_counts() -> None:
    model = timm.create_model("deit_tiny_patch16_224")
    last = {"num_chs": 7, "reduction": 32, "module": "norm"}
    model.feature_info = [*model.feature_info, last]
    assert levels_of(model) == [(11, 192, 16), (12, 7, 32)]


@pytest.mark.parametrize(
    ("arch", "stride"),
    [
        ("psvit1d:b-----|b-----|b-----|16", 16),
        ("psvit2d:b-----|------|------|16", 8),
        ("timm:deit_tiny_patch16_224", 16),
    ],
)
def test_one_stride_is_no_pyramid(arch: str, stride: int) -> None:
    with pytest.raises(ValueError, match=f"stride {stride} px only.*'psvit2d:' path") as refusal:
        levels_of(asvit.build(arch))
    assert "\n" not in str(refusal.value)


def test_what_gives_no_maps() -> None:
    with pytest.raises(ValueError, match="Linear gives no feature maps"):
        levels_of(nn.Linear(2, 2))


def test_maps_are_put_in_order() -> None:
    assert chosen_of(None, 4) == [0, 1, 2, 3]
    assert chosen_of([3, 1, 3], 4) == [1, 3]


@pytest.mark.parametrize("wanted", [(), (4,), (-1,)])
def test_maps_that_do_not_exist(wanted: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="use some of 0 to 3"):
        chosen_of(wanted, 4)


@pytest.mark.parametrize(
    ("arch", "any_size"),
    [
        (AS_VIT, True),
        (SHIFT_VIT, True),
        ("psvit2d:b-----|b-----|b-----|16", True),
        ("timm:resnet10t", True),
        ("timm:swin_tiny_patch4_window7_224", False),
        ("pit:16,2|1,1,1|1,2,4", False),
    ],
)
def test_which_take_any_size(arch: str, any_size: bool) -> None:
    assert takes_any_size(asvit.build(arch, 224)) == any_size


@pytest.mark.parametrize(
    ("image_size", "times", "splits"), [(1024, 4, [16, 8, 4, 4]), (64, 1, [4, 2, 1, 1])]
)
def test_windows_stay_about_as_large_as_at_224_px(
    image_size: int, times: int, splits: list[int]
) -> None:
    model = asvit.build(AS_VIT, 224)
    assert multiply_windows(model, None, image_size) == times
    assert [stage.splits for stage in model.layers] == splits
    assert multiply_windows(asvit.build(SHIFT_VIT), None, image_size) == 1


@pytest.mark.parametrize(("arch", "windows"), [(AS_VIT, 0), (SHIFT_VIT, 2)])
def test_windows_that_cannot_be(arch: str, windows: int) -> None:
    with pytest.raises(ValueError, match=f"windows={windows} for a .*ViT; use 1, or more for"):
        multiply_windows(asvit.build(arch), windows, 64)

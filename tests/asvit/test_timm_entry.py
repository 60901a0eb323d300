"""The entry of any of our networks in timm's registry."""

import pytest
import timm
import torch

import asvit

TEXTS = {
    "searched": "8,2,3|4,1,2|4,1,4|4,1,6|32",
    "grown": "8,2,3,2|4,1,2,1|4,1,4,1|4,1,6,1|32,8",
    "shiftvit": "shift:1,1,1,1|1|8|1|16",
    "psvit": "psvit2d:b-----|s-----|b-----",
    "pit": "pit:10,4|1,1,1|1,2,4",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_any_text_builds_what_asvit_builds(text: str) -> None:
    made = timm.create_model("asvit", architecture=text, img_size=64, num_classes=3)
    ours = asvit.build(text, 64, 3)
    shapes = [{n: t.shape for n, t in model.state_dict().items()} for model in (made, ours)]
    assert shapes[0] == shapes[1]
    assert made(torch.zeros(2, 3, 64, 64)).shape == (2, 3)


def test_parts_of_ours_are_put_in() -> None:
    made = timm.create_model(
        "asvit",
        architecture="timm:deit_tiny_patch16_224",
        img_size=32,
        num_classes=3,
        attention="hallucinated",
        ffn="compact",
        branches=2,
    )
    names = list(made.state_dict())
    assert any("hallucinate.intra" in name for name in names)
    assert any("reduce.branches.1" in name for name in names)


def test_rates_reach_the_network() -> None:
    made = timm.create_model(
        "asvit", architecture=TEXTS["grown"], drop_rate=0.25, drop_path_rate=0.5
    )
    assert made.head_drop.p == 0.25
    assert made.layers[-1].blocks[-1].drop_path.drop_prob == pytest.approx(0.5)


def test_features_of_a_pyramid_come_out() -> None:
    made = timm.create_model("asvit", architecture=TEXTS["shiftvit"], features_only=True)
    maps = made(torch.zeros(1, 3, 64, 64))
    assert [m.shape[-1] for m in maps] == [16, 8, 4, 2]
    other = {"features_only": True, "feature_cls": "list"}
    network = timm.create_model("asvit", architecture="timm:resnet10t", img_size=64, **other)
    assert [m.shape[-1] for m in network(torch.zeros(1, 3, 64, 64))] == [32, 16, 8, 4]


@pytest.mark.parametrize(
    ("text", "sides"),
    [
        ("psvit2d:b-----|s-----|b-----", [8, 4, 2]),
        ("psvit1d:b-----|s-----|b-----", [4]),
        (TEXTS["pit"], [7, 4, 2]),
    ],
)
def test_features_of_fewer_levels_are_all_of_them(text: str, sides: list[int]) -> None:
    network = timm.create_model("asvit", architecture=text, img_size=64, features_only=True)
    assert [m.shape[-1] for m in network(torch.zeros(1, 3, 64, 64))] == sides
    last = {"features_only": True, "out_indices": (-1,)}
    named = timm.create_model("asvit", architecture=text, img_size=64, **last)
    assert [m.shape[-1] for m in named(torch.zeros(1, 3, 64, 64))] == sides[-1:]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "needs architecture=TEXT"),
        ({"architecture": "8,2,3|4"}, "8,2,3"),
        ({"architecture": TEXTS["grown"], "img_size": (32, 64)}, r"img_size=\(32, 64\)"),
        ({"architecture": TEXTS["grown"], "ffn": "small"}, "ffn must be compact, got"),
    ],
)
def test_a_wrong_argument_is_named(given: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        timm.create_model("asvit", **given)

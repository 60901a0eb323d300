"""Spaces of timm's own networks, and several spaces as one."""

from dataclasses import replace

import pytest

from asvit.spaces import TIMM_FAMILIES, TimmSpace, load_space
from asvit.spaces.architectures import choice_features


def test_texts_of_one_network_belong_to_the_family_with_their_parts() -> None:
    space = load_space("families")
    for name in ("resnet", "resnet-parts"):
        arch = space.parse(load_space(name).by_hand[0])
        assert space.family_of(arch) == name
    with pytest.raises(ValueError, match=r"act_layer=gelu.* is not timm:resnet10t"):
        space.parse(load_space("resnet-parts").by_hand[0].replace("silu", "gelu"))


def test_a_family_may_have_options_that_no_other_has():
    resnet = TIMM_FAMILIES["resnet"]
    options = {"act_layer": ("gelu", "relu")}
    space = TimmSpace("own", replace(resnet, options=options, by_hand=(1, 1, 1, 1, "relu")))
    assert space.size == 2 * load_space("resnet").size
    for text in space.by_hand:
        assert "act_layer=relu" in text
        assert str(space.parse(text)) == text


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

"""The families that race and the side of images, by the side of the pictures."""

import pytest
import torch

import asvit
from asvit.designs.families import smallest_side, space_for, takes, whole_side
from asvit.designs.recipe import FEW, MANY, strength_for
from asvit.designs.settings import DesignSettings
from asvit.spaces import SMALL_FAMILIES, load_space


def settings(**options: object) -> DesignSettings:
    return DesignSettings(data="pictures", max_params=10**6, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("pictures", "space", "side", "smallest"),
    [
        (8, "families", 16, 16),
        (18, "families", 16, 16),
        (28, "families", 32, 32),
        (32, "families", 32, 32),
        (40, "families", 48, 48),
        (60, "families", 64, 64),
        (28, "asvit", 32, 32),  # whose windows need it
        (10, "shiftvit,deit", 32, 32),
        (64, "families", 64, 64),
        (100, "asvit", 96, 64),
        (500, "families", 224, 64),
    ],
)
def test_images_are_about_as_large_as_the_pictures(
    pictures: int, space: str, side: int, smallest: int
) -> None:
    own = settings(space=space)
    raced = space_for(own, pictures)
    assert (raced == space) == (pictures >= 60 or space != "families")
    assert whole_side(settings(space=raced), pictures) == side
    assert smallest_side(settings(space=raced), pictures) == smallest
    assert whole_side(settings(space=space, image_size=40), pictures) == 40


def test_the_family_for_small_pictures_leads_those_that_take_them() -> None:
    for side in (16, 32, 48):
        raced = space_for(settings(), side).split(",")
        assert raced[0] == SMALL_FAMILIES[0] == "resnet-small"
        assert all(takes(name, side) for name in raced)
    assert "shiftvit-parts" in space_for(settings(), 32).split(",")
    assert space_for(settings(image_size=64), 28) == "families"
    assert "resnet-small" not in load_space("families").dimensions["family"]


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_stages_of_a_small_resnet_begin_at_the_stride_of_its_stem(stride: int) -> None:
    text = f"timm:small_resnet(channels=[4,8,16,32],stem_stride={stride},stem_width=4)"
    model = asvit.build(text, image_size=32, num_classes=3).eval()
    sides = []
    for name in ("layer1", "layer2", "layer3", "layer4"):
        module = getattr(model, name)
        module.register_forward_hook(lambda _m, _i, out: sides.append(out.shape[-1]))
    assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 3)
    assert sides == [32 // stride // part for part in (1, 2, 4, 8)]
    reductions = [about["reduction"] for about in model.feature_info]
    assert reductions == [stride, *(stride * part for part in (1, 2, 4, 8))]


@pytest.mark.parametrize(("stem", "message"), [
    ("stem_stride=3,stem_width=4", "stem_stride=3; use 1, 2 or 4"),
    ("stem_stride=1,stem_width=5", "stem_width=5; use an even number"),
])  # fmt: skip
def test_other_stems_are_refused(stem: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        asvit.build(f"timm:small_resnet({stem})", image_size=32)


@pytest.mark.parametrize(
    ("epochs", "expected"), [(None, MANY), (3, FEW), (59, FEW), (60, MANY), (3000, MANY)]
)
def test_pictures_that_are_seen_few_times_are_augmented_little(
    epochs: int | None, expected: object
) -> None:
    strength = strength_for(epochs, 28)
    assert strength["shift"] == (2 if expected == FEW else 0)
    assert strength["weight_decay"] == expected.weight_decay  # type: ignore[attr-defined]

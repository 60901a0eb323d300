"""Networks that draw random numbers, or whose samples interact, have no value in evaluation."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from timm.layers import drop_path
from timm.models import VisionTransformer
from torch import Tensor

from proxies import Inputs, measure, ntk_condition_number
from proxies.features import independent_images, repeatable_images, same_rows
from proxies.registry import standard_measures
from tests.proxies.networks import Lambda

COUNTS = {"params", "macs", "depth", "width", "expansions"}
OF_SINGLE_IMAGES = {
    *("length_distortion", "extrinsic_curvature", "gauss_map_length", "ntk_condition_number"),
    *("feature_condition_number", "jacob_cov", "naswot", "grasp"),
}


class Twisted(VisionTransformer):
    """A small vision transformer with a twist behind its blocks."""

    def __init__(self, twist: Callable[[Tensor], Tensor]) -> None:
        sizes: dict[str, Any] = {"img_size": 16, "patch_size": 8, "embed_dim": 24}
        super().__init__(**sizes, depth=2, num_heads=2, num_classes=5)
        self.twist = twist

    def forward_features(self, x: Tensor, **more: Any) -> Tensor:
        return self.twist(super().forward_features(x, **more))


def dropout(x: Tensor) -> Tensor:
    return F.dropout(x, training=True)


def mixed(x: Tensor) -> Tensor:
    return x + 0.5 * x.roll(1, 0)


def reasons(twist: Callable[[Tensor], Tensor], *names: str, **settings: Any) -> dict[str, str]:
    fixed = {"repeats": 2, "image_size": 16, "points": 4, "device": "cpu", **settings}
    images = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    found = measure(lambda: Twisted(twist), names, images=images, **fixed)
    return {name: score.reason for name, score in found.items()}


def test_random_networks_have_no_value() -> None:
    found = reasons(dropout, *standard_measures())
    assert {name for name, reason in found.items() if not reason} == COUNTS
    told = (
        "repeat 1 of 2: Twisted draws random numbers: its output for an image is not reproducible"
    )
    assert {reason for name, reason in found.items() if name not in COUNTS} == {told}


OWN = torch.Generator()
DRAWS: dict[str, Callable[[Tensor], Tensor]] = {
    "a rare path": lambda x: drop_path(x, 1e-9, training=True),
    "a rare dropout": lambda x: F.dropout(x, 1e-9, training=True),
    "noise that is not used": lambda x: x + 0 * torch.rand(()),
    "Python's generator": lambda x: x if random.random() < 1 else -x,
    "NumPy's generator": lambda x: x if np.random.rand() < 1 else -x,  # noqa: NPY002
    "a generator of its own, for the last image": lambda x: torch.cat(
        [x[:-1], x[-1:] + torch.rand((), generator=OWN)]
    ),
}


@pytest.mark.parametrize("twist", DRAWS.values(), ids=DRAWS)
def test_a_draw_is_seen_though_it_changes_no_row(twist: Callable[[Tensor], Tensor]) -> None:
    for name, reason in reasons(twist, "length_distortion", "snip", "naswot").items():
        assert "draws random numbers" in reason, name


@pytest.mark.parametrize("name", [*DRAWS][:-1])
def test_a_draw_is_seen_by_the_kernel_itself(name: str) -> None:
    with pytest.raises(ValueError, match="Twisted draws random numbers"):
        ntk_condition_number(Twisted(DRAWS[name]), torch.randn(4, 3, 16, 16))


def test_measures_of_single_images_refuse_samples_that_interact() -> None:
    found = reasons(mixed, *standard_measures())
    assert {name for name, reason in found.items() if reason} == OF_SINGLE_IMAGES
    own = found["ntk_condition_number"]
    assert "gives an image alone another feature than in a batch" in own
    told = "output depends on the other images of a batch: its samples interact"
    for name in OF_SINGLE_IMAGES - {"ntk_condition_number"}:
        assert found[name] == f"repeat 1 of 2: Twisted's {told}"


def given(images: Tensor) -> Inputs:
    return Inputs(None, images, torch.zeros(len(images)))


def test_one_image_cannot_interact() -> None:
    model, pair = Lambda(lambda _, x: x - x.mean(0)), torch.randn(2, 3, 4, 4)
    assert independent_images(model, given(pair[:1])) == ""
    assert "its samples interact" in independent_images(model, given(pair))
    assert repeatable_images(model, given(pair)) == ""


def test_rows_are_the_same_up_to_rounding() -> None:
    row = torch.tensor([[1.0, -100.0]])
    assert same_rows(row, row + 1e-3)
    assert not same_rows(row, row + 1e-1)
    assert not same_rows(row.double(), row.double() + 1e-3)
    assert not same_rows(torch.zeros(1, 2), torch.tensor([[0.0, 1e-9]]))
    assert same_rows(torch.full((1, 2), torch.nan), row)

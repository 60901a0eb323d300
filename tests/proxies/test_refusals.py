"""What a measure cannot take is refused in one line that says why."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import asvit
from proxies import PROXIES, Circle, Inputs
from tests.proxies.networks import Lambda, chain, convolutions

SIDE = 8
LOSS = ("snip", "grad_norm", "grasp", "fisher", "zico")
AZ_NAS = ("az_expressivity", "az_trainability")
NO_MAP = "has no attention maps with heads"


def inputs(images: int = 3) -> Inputs:
    circle = Circle.random((3, SIDE, SIDE), 9)
    return Inputs(circle, torch.randn(images, 3, SIDE, SIDE), torch.arange(images))


def applied(function: Callable[[Tensor], Any]) -> nn.Module:
    """A function of the pixels, beside a weight that it does not use."""
    return Lambda(lambda _, x: function(x), layer=nn.Linear(1, 1))


def linear(classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE**2, classes))


def block(weight: float | None = None) -> nn.Module:
    """A block that is one convolution."""
    made = nn.Conv2d(3, 3, 1, bias=False)
    if weight is not None:
        nn.init.constant_(made.weight, weight)
    return Lambda(lambda own, x: own.map(x), map=made)


def no_rule(x: Tensor) -> Tensor:
    raise NotImplementedError


CURVE, KERNEL = ("length_distortion",), ("ntk_condition_number",)
STATIC = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(3))
REFUSED: list[tuple[tuple[str, ...], nn.Module, str]] = [
    (CURVE, applied(lambda x: torch.zeros(len(x), 3)), "ignores its input"),
    (CURVE, applied(no_rule), "Lambda cannot be differentiated forward: NotImplementedError"),
    (CURVE, applied(lambda x: (x, x)), "gives tuple for 9 images"),
    (CURVE, applied(lambda x: x.sum(0)), r"gives \(3, 8, 8\) for 9 images"),
    (KERNEL, nn.Flatten(), "no parameter with 'weight' in its name"),
    (KERNEL, nn.BatchNorm2d(3, track_running_stats=False), "lets samples interact"),
    (("synflow",), nn.Flatten(), "no parameter of Flatten reaches its output"),
    (("synflow",), applied(lambda x: (x, x)), "Lambda gives tuple; this measure needs one tensor"),
    (LOSS, Lambda(num_classes=0, layer=nn.Linear(1, 1)), "Lambda has num_classes=0; this measure"),
    (LOSS, nn.Conv2d(3, 2, 1), r"Conv2d gives \([23], 2, 8, 8\) for [23] images; this measure"),
    (LOSS, linear(1), "of at least 2 classes"),
    (LOSS, applied(lambda x: (x, x)), "Lambda gives tuple for"),
    (LOSS[:4], linear(2).requires_grad_(False), "Sequential has no parameter that requires a gra"),
    (LOSS, applied(lambda x: x.flatten(1)[:, :2]), "no parameter of Lambda reaches its loss"),
    (("fisher", "zico"), STATIC, "Sequential has no linear layer or convolution to train"),
    (("dss",), STATIC, "Sequential has no attention with linear maps; dss needs a transformer"),
    (("ccs",), nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Softmax(-1)), NO_MAP),
    (("naswot",), nn.Flatten(), "Flatten has no rectifier that depends on the image"),
    (("naswot",), applied(lambda x: F.relu(x) / 0), "outputs that are not finite"),
    (("naswot",), asvit.build("4,8,2|2,4,2|2,2,2|2,1,2|16", image_size=32), "does not divide"),
    (("jacob_cov",), applied(torch.zeros_like), "output of Lambda ignores its input"),
    (("jacob_cov",), applied(lambda x: 0 * x), "Lambda gives an image a constant gradient"),
    (("jacob_cov",), nn.ModuleList(), "ModuleList"),
    (("jacob_cov",), applied(lambda x: x[0, 0]), r"gives \(8, 8\) for 3 images"),
    (AZ_NAS, nn.Flatten(), "Flatten has no list of blocks"),
    (("az_progressivity",), chain(block()), "Lambda has one primary block; at least 2"),
    (("az_trainability",), chain(block()), "Lambda has no Jacobian but the first"),
    (("az_expressivity",), chain(block(0)), "feature of Lambda is the same at"),
    (("az_trainability",), chain(block(), block(0)), "no gradient comes back through a block of"),
    (("depth",), nn.Linear(2, 2), "Linear has no list of blocks"),
    (("width",), convolutions(), "Sequential has no list of blocks"),
    # Nothing goes past single operations.
    (("depth",), chain(nn.Linear(2, 2), nn.GELU()), "Lambda has no list"),
    (("expansions",), chain(block()), "no block of Lambda has a feed"),
]


@pytest.mark.parametrize(
    ("measure", "model", "message"),
    [(measure, model, message) for measures, model, message in REFUSED for measure in measures],
)
def test_networks_that_cannot_be_measured(measure: str, model: nn.Module, message: str) -> None:
    with pytest.raises((ValueError, NotImplementedError), match=message) as refusal:
        PROXIES[measure].value(model, inputs())
    assert len(str(refusal.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("measure", "images", "message"),
    [
        ("ntk_condition_number", 0, "kernel of 0 images"),
        ("snip", 0, "0 images"),
        ("zico", 1, "1 images for 2 batches; use at least 2"),
        ("jacob_cov", 1, "1 images cannot be compared; use at least 2"),
        ("naswot", 1, "1 images cannot be compared; use at least 2"),
    ],
)
def test_too_few_images(measure: str, images: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PROXIES[measure].value(linear(3), inputs(images))

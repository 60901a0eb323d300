"""The measures on tiny networks of every kind, against their definitions."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from asvit.models import PSViT, ShiftViT, convert
from proxies import (
    Circle,
    curve_speed,
    length_distortion,
    measure,
    ntk_condition_number,
    ntk_matrix,
)
from proxies.registry import standard_measures
from tests.asvit.models.families import TINY_HOSTS
from tests.proxies.oracles import curve_speed_by_rows, ntk_by_single_images


def psvit(**settings: Any) -> nn.Module:
    shape = {"dims": (8, 12, 16), "heads": (2, 3, 4), "img_size": 32, "patch_size": 8}
    return PSViT(**{"cells": ("s", "b-", "s"), "num_classes": 3, **shape, **settings})


def shiftvit(**settings: Any) -> nn.Module:
    return ShiftViT(depths=(1, 1, 1, 1), width=24, num_classes=5, **settings).eval()


SETTINGS: dict[str, dict[str, Any]] = {
    "training form": {"attention": "hallucinated", "ffn": "compact"},
    "by queries": {"attention": "hallucinated", "axis": "query", "class_token": "isolated"},
    "merged form": {"attention": "hallucinated", "ffn": "compact", "branches": 0},
}
# Name -> (builder, side of its images).
NETWORKS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "psvit 1d": (partial(psvit, pooling="1d"), 32),
    "psvit 1d, kernel": (partial(psvit, pooling="1d", conv_kernel=3, pool_class_token=True), 32),
    "psvit 2d": (partial(psvit, pooling="2d"), 32),
    "psvit 2d, tail": (partial(psvit, pooling="2d", cells=("bs", "", "")), 32),
    "asvit": TINY_HOSTS["asvit"],
    "shiftvit": (shiftvit, 32),
    "shiftvit, norms": (partial(shiftvit, norm_layer="batchnorm2d", act_layer="relu"), 32),
    "shiftvit, no shift": (partial(shiftvit, step=0), 32),
    "shiftvit, ratio": (partial(shiftvit, ratio=1.5), 32),
} | {
    f"{name}, {setting}": (lambda make=make, own=own: convert(make(), **own), side)
    for name, (make, side) in TINY_HOSTS.items()
    for setting, own in SETTINGS.items()
}
TRAINED = [name for name in NETWORKS if name.endswith("training form")]
every_network = pytest.mark.parametrize("name", NETWORKS)


def make(name: str) -> nn.Module:
    torch.manual_seed(0)
    return NETWORKS[name][0]()


@every_network
def test_expansion_equals_one_backward_pass_per_feature(name: str) -> None:
    model, side = make(name).double(), NETWORKS[name][1]
    circle = Circle.random((3, side, side), 3, generator=torch.Generator().manual_seed(1))
    speed, length = curve_speed(model, circle), length_distortion(model, circle)
    expected = curve_speed_by_rows(model, circle)
    torch.testing.assert_close(speed, expected, rtol=1e-9, atol=0)
    # Three points at equal distances.
    assert length == pytest.approx(float(expected.detach().mean()) * 2 * math.pi, rel=1e-9)
    assert length > 0


@every_network
def test_kernel_equals_one_backward_pass_per_image(name: str) -> None:
    model, side = make(name).double(), NETWORKS[name][1]
    images = torch.randn(3, 3, side, side, dtype=torch.float64)
    kernel = ntk_by_single_images(model, images)
    torch.testing.assert_close(ntk_matrix(model, images), kernel, rtol=1e-9, atol=1e-12)
    spectrum = torch.linalg.eigvalsh(kernel)
    expected = float(spectrum[-1] / spectrum[0])
    assert ntk_condition_number(model, images) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", TRAINED)
def test_kernel_reads_every_weight_off_one_backward_pass(name, monkeypatch):
    def refuse(*_):
        raise AssertionError("a weight took a pass of its own")

    monkeypatch.setattr("proxies.ntk._gram_by_vmap", refuse)
    side = NETWORKS[name][1]
    ntk_matrix(make(name), torch.randn(3, 3, side, side))


@pytest.mark.parametrize("name", ["psvit 1d", "psvit 2d", *TRAINED])
def test_every_measure_has_a_value(name: str) -> None:
    side = NETWORKS[name][1]
    scores = measure(
        partial(make, name),
        standard_measures(),
        repeats=1,
        images=torch.randn(4, 3, side, side),
        labels=torch.arange(4) % 3,
        device="cpu",
        points=3,
    )
    assert {key: score.reason for key, score in scores.items() if not score.valid} == {}

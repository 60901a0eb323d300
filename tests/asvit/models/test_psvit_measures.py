"""The measures on tiny PSViTs, against their definitions."""

import math
from typing import Any

import pytest
import torch

from asvit.models import PSViT
from proxies import (
    PROXIES,
    Circle,
    curve_speed,
    length_distortion,
    measure,
    ntk_condition_number,
    ntk_matrix,
)
from tests.proxies.oracles import curve_speed_by_rows, ntk_by_images

FORMS: dict[str, dict[str, Any]] = {
    "1d": {"pooling": "1d"},
    "1d-kernel": {"pooling": "1d", "conv_kernel": 3, "pool_class_token": True},
    "2d": {"pooling": "2d"},
    "2d-tail": {"pooling": "2d", "cells": ("bs", "", "")},
}


def tiny(name: str) -> PSViT:
    torch.manual_seed(0)
    settings = {"cells": ("s", "b-", "s"), **FORMS[name]}
    return PSViT(
        settings.pop("cells"), (8, 12, 16), (2, 3, 4),
        img_size=32, patch_size=8, num_classes=3, **settings,
    ).double()  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_expansion_equals_one_backward_pass_per_feature(name: str) -> None:
    model = tiny(name)
    circle = Circle.random((3, 32, 32), 3, generator=torch.Generator().manual_seed(0))
    speed, length = curve_speed(model, circle), length_distortion(model, circle)
    expected = curve_speed_by_rows(model, circle)
    torch.testing.assert_close(speed, expected, rtol=1e-9, atol=0)
    # Three points at equal distances.
    assert length == pytest.approx(float(expected.detach().mean()) * 2 * math.pi, rel=1e-9)


@pytest.mark.parametrize("name", FORMS)
def test_kernel_equals_one_backward_pass_per_image(name: str) -> None:
    model = tiny(name)
    images = torch.randn(3, 3, 32, 32, dtype=torch.float64)
    kernel = ntk_by_images(model, images)
    torch.testing.assert_close(ntk_matrix(model, images), kernel, rtol=1e-8, atol=0)
    spectrum = torch.linalg.eigvalsh(kernel)
    expected = float(spectrum[-1] / spectrum[0])
    assert ntk_condition_number(model, images) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", ["1d", "2d"])
def test_every_measure_has_a_value(name: str) -> None:
    scores = measure(
        lambda: tiny(name).float(),
        list(PROXIES),
        repeats=1,
        images=torch.randn(4, 3, 32, 32),
        labels=torch.arange(4) % 3,
        device="cpu",
        points=3,
    )
    assert {key: score.reason for key, score in scores.items() if not score.valid} == {}

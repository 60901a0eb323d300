"""The measures on classifiers that are not ours, against their definitions."""

from typing import Any

import pytest
import timm
import torch

from proxies import Circle, curve_speed, ntk_matrix
from tests.proxies.oracles import curve_speed_by_rows, ntk_by_images

# Narrow and shallow, so that the definitions take seconds.
VIT = {"img_size": 32, "depth": 2, "embed_dim": 48, "num_heads": 3}
MODELS: dict[str, dict[str, Any]] = {
    "deit_tiny_patch16_224": VIT,
    "deit_tiny_distilled_patch16_224": VIT,
    "swin_tiny_patch4_window7_224": {
        "img_size": 64,
        "window_size": 4,
        "embed_dim": 12,
        "depths": (2, 2, 1, 1),
    },
    "pvt_v2_b0": {"depths": (1, 1, 1, 1), "embed_dims": (8, 16, 40, 64)},
    "pit_ti_224": {"img_size": 64, "depth": [1, 1, 1]},
    "convnext_atto": {"depths": (1, 1, 1, 1), "dims": (8, 16, 24, 48)},
    "resnet18": {"channels": (8, 16, 24, 32)},
    "vit_small_patch16_dinov3": VIT,
    "crossvit_tiny_240": {
        "img_size": 48,
        "patch_size": (12, 16),
        "img_scale": (1.0, 1.0),
        "depth": ([1, 1, 0],),
    },
    "vit_little_patch16_reg4_gap_256": VIT,
}


@pytest.mark.parametrize("name", MODELS)
def test_expansion_equals_one_backward_pass_per_feature(name: str) -> None:
    settings = MODELS[name]
    side = settings.get("img_size", 32)
    model = timm.create_model(name, num_classes=3, **settings).double()
    circle = Circle.random((3, side, side), 3, generator=torch.Generator().manual_seed(0))
    expected = curve_speed_by_rows(model, circle)
    torch.testing.assert_close(curve_speed(model, circle), expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize("name", MODELS)
def test_kernel_equals_one_backward_pass_per_image(name: str) -> None:
    settings = MODELS[name]
    side = settings.get("img_size", 32)
    model = timm.create_model(name, num_classes=3, **settings).double()
    images = torch.randn(3, 3, side, side, dtype=torch.float64)
    expected = ntk_by_images(model, images)
    torch.testing.assert_close(ntk_matrix(model, images), expected, rtol=1e-8, atol=0)

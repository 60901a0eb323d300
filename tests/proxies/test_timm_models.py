"""The measures on classifiers that are not ours, against their definitions."""

import pytest
import torch

from proxies import Circle, curve_speed, ntk_matrix
from tests.proxies.networks import MODELS, timm_network
from tests.proxies.oracles import curve_speed_by_rows, ntk_by_images


@pytest.mark.parametrize("name", MODELS)
def test_expansion_and_kernel_equal_their_definitions(name: str) -> None:
    build, side = timm_network(name)
    model = build().double()
    circle = Circle.random((3, side, side), 3, generator=torch.Generator().manual_seed(0))
    expected = curve_speed_by_rows(model, circle)
    torch.testing.assert_close(curve_speed(model, circle), expected, rtol=1e-9, atol=0)
    images = torch.randn(3, 3, side, side, dtype=torch.float64)
    expected = ntk_by_images(model, images)
    torch.testing.assert_close(ntk_matrix(model, images), expected, rtol=1e-8, atol=0)

"""The compact second map: its width, its branches, and what they merge to."""

import pytest
import torch
from torch import nn

from asvit.models.compact import BranchedMap, CompactMap, compact_width


def seen(module: nn.Module, x: torch.Tensor) -> nn.Module:
    """A module with the statistics, gains and offsets of a trained one, in evaluation mode."""
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(part.weight, 0.5, 2)
            nn.init.normal_(part.bias)
    for _ in range(3):
        module.train()(3 * x + 1)
    return module.eval()


@pytest.mark.parametrize(
    ("expansion", "width", "between"),
    [
        (4, 192, 102),
        (4, 384, 205),
        (8, 64, 38),
        (8, 128, 76),
        (4, 320, 171),
        (4, 512, 273),
        (3, 96, 48),
        (3, 768, 384),
        (2, 256, 114),
        (2, 512, 228),
        (2, 1024, 455),
    ],
)
def test_widths(expansion, width, between):
    assert compact_width(expansion * width, width) == between


@pytest.mark.parametrize("branches", [1, 2, 3])
@pytest.mark.parametrize("images", [False, True])
@torch.no_grad()
def test_merging_is_exact(branches, images):
    x = torch.randn(4, 12, 5, 3) if images else torch.randn(4, 5, 3, 12)
    layer = seen(BranchedMap(12, 7, branches, images=images), x)
    expected = layer(x)
    state = torch.get_rng_state()
    merged = layer.merged()
    assert torch.equal(torch.get_rng_state(), state)
    assert type(merged) is (nn.Conv2d if images else nn.Linear)
    assert not merged.training
    torch.testing.assert_close(merged(x), expected, rtol=0, atol=1e-5)
    assert expected.std() > 0.5


@pytest.mark.parametrize("branches", [0, 1, 2])
@torch.no_grad()
def test_the_product_spreads_as_the_map_that_it_stands_for(branches):
    layer = CompactMap(256, 64, 34, branches=branches).eval()
    assert (layer(torch.eye(256)) - layer(torch.zeros(256))).std() == pytest.approx(0.02, rel=0.2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: compact_width(8, 4, ratio=0), "ratio must be positive and finite, got 0"),
        (lambda: compact_width(8, 4, ratio=float("inf")), "positive and finite, got inf"),
        (lambda: compact_width(8, 4, ratio=0.01), "ratio=0.01 leaves no channel between 8 and 4"),
        (lambda: compact_width(2, 1), "ratio=0.666667 leaves no channel between 2 and 1"),
        (lambda: CompactMap(8, 4, 2, branches=-1), "branches must be at least 0, got -1"),
    ],
)
def test_what_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()

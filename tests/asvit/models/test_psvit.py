"""The PSViT network: counts, token pooling, attention sharing, readouts, sizes and formats."""

import pytest
import timm
import torch
from torch.nn import functional as F

from asvit.models import PSViT
from asvit.models.blocks import positions_on
from asvit.models.psvit import PRESETS
from proxies import count

# Parameters at 224 px, 1000 classes. Exact.
PARAMS = {
    "psvit_1d_tiny": 12_755_880,
    "psvit_1d_tiny_shared": 11_753_128,
    "psvit_1d_small": 49_791_848,
    "psvit_1d_base": 196_707_048,
    "psvit_2d_tiny": 12_185_032,
    "psvit_2d_tiny_shared": 11_426_824,
    "psvit_2d_small": 47_703_976,
    "psvit_2d_base": 217_078_120,
}
IMAGE = torch.randn(2, 3, 64, 32, generator=torch.Generator().manual_seed(0))
SQUARE = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def tiny(**settings) -> PSViT:
    cells = settings.pop("cells", ("b-s", "s", "b"))
    heads = settings.pop("heads", (2, 3, 4))
    chosen = {"pooling": "2d", "img_size": (64, 32), "patch_size": 8, "num_classes": 5}
    return PSViT(cells, (8, 12, 16), heads, **{**chosen, **settings})


def by_hand(cells: tuple[str, ...], pooling: str, dims: tuple[int, ...]) -> tuple[int, int]:
    """Parameters and multiply-adds at 224 px with 1000 classes, from the formulas."""
    patch, prefix = (16, 1) if pooling == "1d" else (8, 0)
    side = 224 // patch
    tokens, dim = side**2, dims[0]
    params = 3 * patch**2 * dim + dim + (tokens + prefix) * dim + prefix * dim
    macs = 3 * patch**2 * dim * tokens
    used = max(i for i, stage in enumerate(cells) if stage.strip("-"))
    for i in range(used + 1):
        if i > 0:
            before, dim = dim, dims[i]
            if pooling == "1d":
                macs += (tokens + prefix) * before * dim
                params += before * dim + dim
                tokens //= 2
            else:
                side = -(-side // 2)
                tokens = side**2
                macs += 9 * tokens * before * dim
                params += 9 * before * dim + dim
        n = tokens + prefix
        for cell in cells[i]:
            if cell in "bs":
                params += 12 * dim**2 + 13 * dim
                macs += 12 * n * dim**2 + 2 * n**2 * dim
            if cell == "s":
                params += 10 * dim**2 + 11 * dim
                macs += 10 * n * dim**2 + n**2 * dim
    return params + 2 * dim + dim * 1000 + 1000, macs + dim * 1000


@pytest.mark.parametrize("name", PARAMS)
def test_exact_costs_of_the_presets(name):
    with torch.device("meta"):
        model = timm.create_model(name)
    core = count(model)
    assert core.params == PARAMS[name]
    preset = PRESETS[name]
    assert (model.cells, model.dims, model.pooling) == tuple(
        preset[name] for name in ("cells", "dims", "pooling")
    )
    assert (core.params, core.macs) == by_hand(preset["cells"], preset["pooling"], preset["dims"])
    assert sorted(PARAMS) == sorted(PRESETS)


@pytest.mark.parametrize("pooling", ["1d", "2d"])
@pytest.mark.parametrize(
    "cells",
    [("ssssss", "------", "------"), ("-b-s--", "------", "b-----"), ("------", "s-----", "b-")],
)
def test_costs_follow_from_the_path(cells, pooling):
    with torch.device("meta"):
        model = PSViT(cells, (24, 32, 48), (3, 4, 6), pooling=pooling)
    found = count(model)
    assert (found.params, found.macs) == by_hand(cells, pooling, (24, 32, 48))


def test_readouts_of_a_list():
    by_token, by_mean = tiny(pooling="1d"), tiny(pooling="1d", global_pool="avg")
    by_mean.load_state_dict(by_token.state_dict())
    tokens = by_token.forward_features(IMAGE)
    assert tokens.shape == (2, 1 + 32 // 4, 16)
    torch.testing.assert_close(by_token(IMAGE), by_token.head(tokens[:, 0]))
    torch.testing.assert_close(by_mean(IMAGE), by_mean.head(tokens[:, 1:].mean(1)))


@pytest.mark.parametrize("pooling", ["1d", "2d"])
def test_positions_for_other_images_are_resampled(pooling):
    model = tiny(pooling=pooling)
    prefix = model.num_prefix_tokens
    own = model.patch_embed.pos_embed
    grid = own[:, prefix:].unflatten(1, (8, 4)).permute(0, 3, 1, 2)
    expected = F.interpolate(grid, size=(5, 6), mode="bicubic", antialias=True)
    found = positions_on((5, 6), own, (8, 4), prefix)
    assert torch.equal(found[:, :prefix], own[:, :prefix])
    torch.testing.assert_close(found[:, prefix:], expected.flatten(2).transpose(1, 2))
    logits = model(torch.randn(2, 3, 40, 48))
    assert logits.shape == (2, 5)
    logits.sum().backward()
    assert own.grad.abs().min() > 0
    half = model.bfloat16()(torch.randn(1, 3, 32, 48).bfloat16())
    assert half.dtype == torch.bfloat16

"""AZ-NAS's measures by hand and by their definitions; ranks against scipy's; primary blocks."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn

from proxies.az_nas import (
    BlockFeature,
    az_expressivity,
    az_progressivity,
    az_trainability,
    watch_blocks,
)
from proxies.structure import residual_blocks
from tests.proxies.networks import MODELS, VIT, Lambda, chain, timm_network

TOPOLOGY = "4,2,2|4,1,2|4,1,2|4,1,2|16,8"


def unit(weight: Tensor, stride: int = 1) -> nn.Module:
    """A block that is one convolution."""
    out, channels, kernel, _ = weight.shape
    convolution = nn.Conv2d(channels, out, kernel, stride=stride, bias=False).to(weight)
    convolution.weight.data.copy_(weight)
    return Lambda(lambda made, x: made.map(x), map=convolution)


def pointwise(matrix: list[list[float]]) -> nn.Module:
    return unit(torch.tensor(matrix, dtype=torch.float64)[:, :, None, None])


def all_signs(channels: int) -> Tensor:
    """An image whose pixels are all vectors of ±1: uncorrelated channels of equal variance."""
    grid = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * channels)
    return grid.T.reshape(1, channels, 1, -1)


def entropy(eigenvalues: list[float]) -> float:
    shares = [value / sum(eigenvalues) for value in eigenvalues]
    return -sum(share * math.log(share) for share in shares)


def test_expressivity_by_hand() -> None:
    # Covariances I, diag(1, 9, 4) and, of two channels only, diag(4, 4).
    net = chain(
        pointwise([[1, 0, 0], [0, 1, 0], [0, 0, 1]]),
        pointwise([[1, 0, 0], [0, 3, 0], [0, 0, 2]]),
        pointwise([[2, 0, 0], [0, 0, 1]]),
    )
    expected = [math.log(3), entropy([1, 9, 4]), math.log(2)]
    image = all_signs(3)
    assert az_expressivity(net, image) == pytest.approx(sum(expected), rel=1e-12)
    assert az_progressivity(net, image) == pytest.approx(min(np.diff(expected)), rel=1e-12)


@pytest.mark.parametrize("seed", [0, 1])
def test_trainability_by_hand(seed: int) -> None:
    # With one channel the estimate is exact: the gain itself, the first block's left out.
    net = chain(*(pointwise([[gain]]) for gain in (7.0, 2.0, -0.5, 1.0)))
    image = torch.randn(2, 1, 3, 3, dtype=torch.float64)
    expected = (2 - 2 - 1 / 2 + 2 - 1 / 2 - 2 + 2 - 1 - 1) / 3
    assert az_trainability(net, image, seed=seed) == pytest.approx(expected, rel=1e-12)


def test_a_stride_turns_positions_into_channels() -> None:
    weight = torch.tensor([[[[1.0, 2.0], [2.0, 4.0]]]], dtype=torch.float64)
    net = chain(pointwise([[1]]), unit(weight, stride=2))
    image = torch.randn(2, 1, 4, 6, dtype=torch.float64)
    assert az_trainability(net, image) == pytest.approx(2 - 5 - 1 / 5, rel=1e-12)


def residual_features(model: nn.Module, images: Tensor) -> list[list[Tensor]]:
    """What goes into each block of a vision transformer, is in its middle, and comes out."""
    x, features = model._pos_embed(model.patch_embed(images)), []
    for block in model.blocks:
        middle = x + block.attn(block.norm1(x))
        out = middle + block.mlp(block.norm2(middle))
        features.append([x, middle, out])
        x = out
    return features


@pytest.fixture
def vit() -> nn.Module:
    # Square patches of 8, so that there are more positions than channels.
    settings = VIT | {"patch_size": 8, "num_classes": 3}
    return timm.create_model("deit_tiny_patch16_224", **settings).double().eval()


def test_expressivity_of_a_vision_transformer_equals_its_definition(vit: nn.Module) -> None:
    images = torch.randn(5, 3, 32, 32, dtype=torch.float64)
    expected = []
    for _, *written in residual_features(vit, images):
        for feature in written:
            rows = feature.detach().flatten(0, 1).numpy()
            expected.append(entropy(np.linalg.eigvalsh(np.cov(rows, rowvar=False)).tolist()))
    assert len(expected) == 4
    assert az_expressivity(vit, images) == pytest.approx(sum(expected), rel=1e-9)
    assert az_progressivity(vit, images) == pytest.approx(min(np.diff(expected)), rel=1e-7)


def test_trainability_of_a_vision_transformer_equals_its_definition(vit: nn.Module) -> None:
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    generator = torch.Generator().manual_seed(3 + 1)
    expected = []
    for features in residual_features(vit, images):
        for before, after in itertools.pairwise(features):
            signs = 2 * torch.empty_like(after).bernoulli_(generator=generator) - 1
            back = torch.autograd.grad(after, before, signs, retain_graph=True)[0]
            jacobian = torch.einsum("bni,bno->io", back, signs) / signs[..., 0].numel()
            sigma = float(torch.linalg.matrix_norm(jacobian.detach(), ord=2))
            expected.append(2 - sigma - 1 / sigma)
    found = az_trainability(vit, images, seed=3)
    assert found == pytest.approx(np.mean(expected[1:]), rel=1e-9)
    assert az_trainability(vit, images, seed=3) == found
    assert az_trainability(vit, images, seed=4) != found


# Attention and feed-forward part of a transformer's block; a convolutional block is one.
PARTS = dict.fromkeys(MODELS, 2) | {"convnext_atto": 1, "resnet18": 1}


def watched(model: nn.Module, images: Tensor) -> list[tuple[BlockFeature, BlockFeature]]:
    pairs: list[tuple[BlockFeature, BlockFeature]] = []
    with watch_blocks(model.eval(), lambda *pair: pairs.append(pair)):
        model(images)
    return pairs


def block(forward: Callable[[nn.Module, Tensor], Any]) -> nn.Module:
    """A transformer's block of some shape; its attention is a linear map."""
    mlp = Lambda(
        lambda made, x: made.fc2(made.fc1(x).relu()), fc1=nn.Linear(4, 8), fc2=nn.Linear(8, 4)
    )
    return Lambda(forward, attn=nn.Linear(4, 4), norm=nn.LayerNorm(4), mlp=mlp)


def before_norm(block: nn.Module, x: Tensor) -> Tensor:
    x = x + block.attn(x)
    return x + block.mlp(block.norm(x))


def parallel(block: nn.Module, x: Tensor) -> Tensor:
    return x + block.attn(x) + block.mlp(block.norm(x))


def in_place(block: nn.Module, x: Tensor) -> Tensor:
    x += block.attn(x)
    x += block.mlp(block.norm(x))
    return x


@pytest.mark.parametrize("name", MODELS)
def test_parts_of_models_that_are_not_ours(name: str) -> None:
    build, side = timm_network(name)
    model = build()
    pairs = watched(model, torch.randn(2, 3, side, side))
    assert len(pairs) == PARTS[name] * len(residual_blocks(model))
    for before, after in pairs:
        assert before.channels_first == after.channels_first == (PARTS[name] == 1)


@pytest.mark.parametrize(
    ("forward", "parts"),
    [(before_norm, 2), (parallel, 1)],
)
def test_a_block_ends_before_and_behind_its_feed_forward_part(
    forward: Callable[[nn.Module, Tensor], Tensor], parts: int
) -> None:
    made = block(forward)
    x = torch.randn(2, 5, 4)
    pairs = watched(chain(made), x)
    assert len(pairs) == parts
    torch.testing.assert_close(pairs[0][0].tensor, x)
    torch.testing.assert_close(pairs[-1][1].tensor, forward(made, x.clone()))
    if parts == 2:
        middle = (x + made.attn(x)).flatten(0, 1)
        torch.testing.assert_close(pairs[0][1].rows(pairs[0][1].tensor), middle)


@pytest.mark.parametrize("measure", [az_expressivity, az_progressivity])
def test_a_sum_may_be_written_in_place(measure: Callable[..., float]) -> None:
    blocks = [block(before_norm), block(before_norm)]
    net = chain(*blocks)
    images = torch.randn(3, 5, 4)
    expected = measure(net, images)
    for made in blocks:
        made.function = in_place
    assert measure(net, images) == expected

"""What counts as a primary block, and that watching changes nothing."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from proxies.az_nas import BlockFeature, watch_blocks
from tests.proxies.networks import MODELS, NETWORKS, Lambda, chain, timm_network

# Attention and feed-forward part of a transformer's block; a convolutional block is one.
PARTS = dict.fromkeys(MODELS, 2) | {"convnext_atto": 1, "resnet18": 1}


def watched(model: nn.Module, images: Tensor) -> list[list[BlockFeature]]:
    blocks: list[list[BlockFeature]] = []
    with torch.no_grad(), watch_blocks(model.eval(), blocks.append):
        model(images)
    return blocks


def block(forward: Callable[[nn.Module, Tensor], Any]) -> nn.Module:
    """A transformer's block of some shape; its attention is a linear map."""
    mlp = Lambda(
        lambda made, x: made.fc2(made.fc1(x).relu()), fc1=nn.Linear(4, 8), fc2=nn.Linear(8, 4)
    )
    return Lambda(forward, attn=nn.Linear(4, 4), norm=nn.LayerNorm(4), mlp=mlp)


def before_norm(block: nn.Module, x: Tensor) -> Tensor:
    x = x + block.attn(x)
    return x + block.mlp(block.norm(x))


def after_norm(block: nn.Module, x: Tensor) -> Tensor:
    x = x + block.attn(x)
    return x + block.norm(block.mlp(x))


def reshaped(block: nn.Module, x: Tensor) -> Tensor:
    x = (x + block.attn(x)).flatten(0, 1)
    return (x + block.mlp(block.norm(x))).unflatten(0, (2, -1))


def parallel(block: nn.Module, x: Tensor) -> Tensor:
    return x + block.attn(x) + block.mlp(x)


def around(block: nn.Module, x: Tensor) -> Tensor:
    return x + block.mlp(block.norm(block.attn(x)))


def in_place(block: nn.Module, x: Tensor) -> Tensor:
    x += block.attn(x)
    return x + block.mlp(x)


@pytest.mark.parametrize("name", MODELS)
def test_parts_of_models_that_are_not_ours(name: str) -> None:
    build, side = timm_network(name)
    blocks = watched(build(), torch.randn(2, 3, side, side))
    assert {len(features) - 1 for features in blocks} == {PARTS[name]}
    for first, *_, last in blocks:
        assert first.channels_first == last.channels_first == (PARTS[name] == 1)


def test_parts_of_ours() -> None:
    build, side = NETWORKS["odd heads"]
    blocks = watched(build(), torch.randn(2, 3, side, side))
    assert [len(features) for features in blocks] == [3] * 5
    widths = [[f.rows(f.tensor).shape[1] for f in features] for features in blocks]
    assert widths == [[10] * 3] * 2 + [[width] * 3 for width in (20, 40, 80)]


@pytest.mark.parametrize(
    ("forward", "parts"),
    [
        (before_norm, 2),
        (after_norm, 2),
        (reshaped, 2),
        # Not a residual addition in between.
        (parallel, 1),
        (around, 1),
        (in_place, 1),
    ],
)
@pytest.mark.parametrize("grad", [True, False])
def test_only_what_is_added_to_counts(
    forward: Callable[[nn.Module, Tensor], Tensor], parts: int, grad: bool
) -> None:
    made = block(forward)
    x = torch.randn(2, 5, 4)
    blocks: list[list[BlockFeature]] = []
    with torch.set_grad_enabled(grad), watch_blocks(chain(made), blocks.append):
        out = chain(made)(x)
    (features,) = blocks
    assert len(features) == parts + 1
    torch.testing.assert_close(features[0].tensor, x)
    torch.testing.assert_close(features[-1].tensor, forward(made, x.clone()))
    torch.testing.assert_close(out, features[-1].tensor)
    if parts == 2:
        middle = (x + made.attn(x)).flatten(0, 1)
        torch.testing.assert_close(features[1].rows(features[1].tensor), middle)


def test_blocks_are_cut_from_each_other() -> None:
    net = chain(block(before_norm), block(before_norm))
    blocks: list[list[BlockFeature]] = []
    with watch_blocks(net, blocks.append):
        out = net(torch.randn(2, 5, 4, requires_grad=True))
    assert not out.requires_grad
    assert all(features[0].tensor.is_leaf for features in blocks)
    assert all(features[-1].tensor.requires_grad for features in blocks)


def test_other_outputs_go_along() -> None:
    net = chain(block(lambda block, x: (before_norm(block, x), (5, 5))))
    with watch_blocks(net, lambda features: None):
        tokens, size = net(torch.randn(2, 5, 4))
    assert tokens.shape == (2, 5, 4)
    assert size == (5, 5)


@pytest.mark.parametrize(
    "forward", [lambda _, x: (x, x), lambda _, x: {"x": x}, lambda _, x: x.sum()]
)
def test_other_blocks_are_refused_and_nothing_stays(forward: Callable[..., Any]) -> None:
    net = chain(block(forward))
    message = r"blocks\.0 of Lambda does not return one feature map"
    with pytest.raises(ValueError, match=message), watch_blocks(net, lambda features: None):
        net(torch.randn(2, 5, 4))
    with pytest.raises(ValueError, match="does not take one feature map"):  # noqa: SIM117
        with watch_blocks(net, lambda features: None):
            net(None)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())

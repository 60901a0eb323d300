"""Networks in the form with which a CPU trains fastest compute what they did before."""

import copy
from typing import Any

import pytest
import torch
from timm.layers import Conv2dSame
from torch import nn

from asvit.models.blocks import is_linear
from asvit.networks import Network
from asvit.training.precision import fast_layout, use_fast_convolutions

CPU = torch.device("cpu")


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("memory", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("sides", [(5, 3), (1, 1)])
def test_a_product_is_the_convolution_and_has_its_gradients(
    bias: bool, memory: torch.memory_format, sides: tuple[int, int]
) -> None:
    plain = nn.Conv2d(6, 4, 1, bias=bias).double()
    network = nn.Sequential(copy.deepcopy(plain))
    use_fast_convolutions(network, CPU)
    assert type(network[0]) is not nn.Conv2d
    weights = torch.randn(2, 4, *sides, dtype=torch.float64)
    outcomes = []
    for module in (plain, network):
        x = torch.randn(
            2, 6, *sides, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
        ).to(memory_format=memory).requires_grad_()  # fmt: skip
        y = module(x)
        (y * weights).sum().backward()
        outcomes.append([y, x.grad, *(p.grad for p in module.parameters())])
    torch.testing.assert_close(*outcomes)


@pytest.mark.parametrize(
    "text",
    [
        "shift:1,1,1,1|1|8|1|16;stem=conv",
        "timm:repvit_m0_9(depth=[1,1,1,1],embed_dim=[8,8,8,8])",
        "timm:convnext_atto(depths=[1,1,1,1],dims=[8,8,8,8])",
    ],
)
def test_networks_keep_weights_and_outputs(text: str) -> None:
    model = Network(text, 32, 3).build().eval()
    images = torch.randn(2, 3, 32, 32)
    expected, weights = model(images), model.state_dict()
    use_fast_convolutions(model, CPU)
    kinds = {type(module) for module in model.modules() if is_linear(module)}
    assert kinds - {nn.Linear, nn.Conv2d}
    torch.testing.assert_close(model(fast_layout(images)), expected, atol=1e-5, rtol=1e-4)
    again = Network(text, 32, 3).build()
    again.load_state_dict(model.state_dict())
    assert {*weights} == {*again.state_dict()}


@pytest.mark.parametrize("kind", [nn.Conv2d, Conv2dSame])
@pytest.mark.parametrize(
    ("side", "kernel", "options"),
    [
        (2, 3, {"padding": 1}),
        (3, 3, {"padding": 1, "stride": 2}),
        (1, 5, {"padding": 2, "stride": 4}),
        (4, 4, {"stride": 4}),
        (1, 1, {"stride": 2}),
        (8, 3, {"padding": "same", "dilation": 2}),
        (8, 3, {"padding": 1, "groups": 2}),
    ],
)
def test_convolutions_are_exact_within_autocast_where_bfloat16_is_slow_or_wrong(
    side: int, kernel: int, options: dict[str, Any], kind: type[nn.Conv2d]
) -> None:
    plain, images = kind(6, 4, kernel, **options), torch.randn(3, 6, side, side)
    network = nn.Sequential(copy.deepcopy(plain))
    use_fast_convolutions(network, CPU)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = network(fast_layout(images).bfloat16())
    exact = plain(fast_layout(images).bfloat16().float())
    for y in (rounded, exact):
        y.square().sum().backward()
    assert torch.equal(rounded, exact)
    assert torch.equal(network[0].weight.grad, plain.weight.grad)


def test_only_convolutions_of_single_pixels_are_products() -> None:
    network = nn.Sequential(
        *(nn.Conv2d(6, 6, 1, **{name: value})
          for name, value in (("groups", 2), ("stride", 2), ("padding", 1))),
        nn.Conv2d(6, 6, 3),
    )  # fmt: skip
    images = torch.randn(2, 6, 8, 8)
    expected = network(images)
    use_fast_convolutions(network, CPU)
    assert not any("linear" in str(module(images).grad_fn).lower() for module in network)
    assert torch.equal(network(images), expected)

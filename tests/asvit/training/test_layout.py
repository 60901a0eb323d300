"""Networks in the form with which a CPU trains fastest compute what they did before."""

import copy

import pytest
import torch
from torch import nn

from asvit.models.layers.blocks import is_linear
from asvit.networks import Network
from asvit.training.layout import fast_layout, use_products

CPU = torch.device("cpu")


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("memory", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("sides", [(5, 3), (1, 1)])
def test_a_product_is_the_convolution_and_has_its_gradients(
    bias: bool, memory: torch.memory_format, sides: tuple[int, int]
) -> None:
    plain = nn.Conv2d(6, 4, 1, bias=bias).double()
    network = nn.Sequential(copy.deepcopy(plain))
    use_products(network, CPU)
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
    use_products(model, CPU)
    kinds = {type(module) for module in model.modules() if is_linear(module)}
    assert kinds - {nn.Linear, nn.Conv2d}
    torch.testing.assert_close(model(fast_layout(images)), expected, atol=1e-5, rtol=1e-4)
    again = Network(text, 32, 3).build()
    again.load_state_dict(model.state_dict())
    assert {*weights} == {*again.state_dict()}


def test_what_is_no_product_stays() -> None:
    network = nn.Sequential(
        *(nn.Conv2d(6, 6, 1, **{name: value})
          for name, value in (("groups", 2), ("stride", 2), ("padding", 1))),
        nn.Conv2d(6, 6, 3),
    )  # fmt: skip
    use_products(network, CPU)
    assert {type(module) for module in network} == {nn.Conv2d}


def test_accelerators_have_convolutions_of_their_own() -> None:
    network = nn.Sequential(nn.Conv2d(6, 6, 1))
    use_products(network, torch.device("cuda"))
    assert type(network[0]) is nn.Conv2d

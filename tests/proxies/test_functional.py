"""Calls of models with other tensors."""

import torch
from torch import Tensor, nn

from proxies import ntk_condition_number, ntk_matrix
from proxies.functional import call_with_tensors
from tests.proxies.networks import Lambda
from tests.proxies.oracles import ntk_by_images


class Shared(nn.Module):
    """One linear map under two names, and its weight in another one."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 3, bias=False)
        self.again = self.first
        self.tied = nn.Linear(3, 3)
        self.tied.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.tied(self.again(self.first(x)))
        return out


def test_every_use_of_a_weight_is_replaced_and_put_back() -> None:
    model = Shared()
    weight, x = model.first.weight, torch.randn(2, 3)
    before, expected = weight.clone(), x @ torch.eye(3) * 8 + model.tied.bias
    double = 2 * torch.eye(3)
    out = call_with_tensors(model, lambda tensor: double if tensor is weight else None, x)
    assert isinstance(out, Tensor)
    torch.testing.assert_close(out, expected)
    assert model.first.weight is model.again.weight is model.tied.weight is weight
    assert torch.equal(weight, before)


class Einsum(nn.Module):
    """A shared module whose weight is used in a way that no rule of the kernel knows."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 4))

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("oi,ni->no", self.weight, x).sin()


def test_the_kernel_leaves_shared_modules_as_they_are() -> None:
    first = Einsum()
    parts = nn.ModuleDict({"a": first, "b": nn.ModuleDict({"a": first})})
    network = Lambda(lambda _, x: first(first(x.flatten(1))), parts=parts).double()
    images = torch.randn(3, 1, 2, 2, dtype=torch.float64)
    weight = first.weight
    kernel = ntk_matrix(network, images)
    assert first.weight is weight
    torch.testing.assert_close(kernel, ntk_by_images(network, images))
    assert ntk_condition_number(network, images) > 1

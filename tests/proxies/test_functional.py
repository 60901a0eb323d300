"""Calls of models with other tensors, and stacks of networks."""

import pytest
import torch
from torch import Tensor, nn

from proxies import ntk_condition_number, ntk_matrix
from proxies.features import pooled_feature
from proxies.functional import (
    Stack,
    across,
    call_with_tensors,
    substitutes,
)
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
    tensors = substitutes(model, lambda tensor: double if tensor is weight else None)
    out = call_with_tensors(model, tensors, x)
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


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(4, 4)
        self.two = nn.Linear(4, 4)
        self.two.weight = self.one.weight
        self.register_buffer("shift", torch.rand(4))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.two(self.one(x)) + self.shift
        return out


def test_tied_tensors_stay_tied_and_networks_stay_as_they_were() -> None:
    models = [Tied() for _ in range(2)]
    before = models[0].one.weight
    stack = Stack(models)
    assert stack.tensors["one.weight"] is stack.tensors["two.weight"]
    assert set(stack.tensors) == {"one.weight", "two.weight", "one.bias", "two.bias", "shift"}
    stack.run(pooled_feature, torch.randn(2, 4), shared=True)
    assert models[0].one.weight is before is models[0].two.weight


def strange(kind: str) -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 4), nn.Identity())
    if kind == "setting":
        model[0].out_features = 5
    if kind == "module":
        model[1] = nn.GELU()
    model[0].activation = None if kind == "function" else torch.tanh
    if kind == "hidden tensor":
        model[0].hidden = [torch.rand(3)]
        model[0].bare = torch.rand(3)
    if kind == "shape":
        model[0].weight = nn.Parameter(torch.rand(5, 4))
    if kind == "number":
        model.append(nn.Identity())
    return model


@pytest.mark.parametrize(
    "kind", ["setting", "function", "module", "hidden tensor", "shape", "number"]
)
def test_networks_that_differ_in_more_are_refused(kind: str) -> None:
    with pytest.raises(ValueError, match="differ in more than the values"):
        _ = Stack([strange("plain"), strange(kind)]).tensors


def test_a_single_network_runs_as_it_is() -> None:
    model, images = Tied(), torch.randn(1, 5, 4)
    stack = Stack([model])
    assert Stack.of(stack) is stack
    assert stack.tensors["one.weight"] is model.one.weight
    assert torch.equal(stack.run(pooled_feature, images, shared=False)[0], model(images[0]))
    assert torch.equal(stack.run(pooled_feature, images[0], shared=True)[0], model(images[0]))


def test_state_of_the_first_network_is_no_difference() -> None:
    models = [strange("plain"), strange("plain")]
    models[0].eval()
    models[0][1].forward = lambda x: x + 1  # as a bypassed norm has
    out = Stack(models).run(pooled_feature, torch.zeros(1, 4), shared=True)
    torch.testing.assert_close(out[1, 0], models[1][0].bias + 1)


@pytest.mark.parametrize("networks", [1, 3])
def test_rules_see_the_tensors_of_all_networks(networks: int) -> None:
    models = [Tied() for _ in range(networks)]
    seen: list[tuple[int, torch.Size, torch.Size, str]] = []

    def rule(networks: int, own: Tensor, shared: Tensor, word: str) -> Tensor:
        seen.append((networks, own.shape, shared.shape, word))
        return own + shared

    def function(model: nn.Module, images: Tensor) -> Tensor:
        return across(networks, rule, model.get_buffer("shift"), images[0], "a")

    images = torch.randn(2, 4)
    out = Stack(models).run(function, images, shared=True)
    shape = torch.Size([4] if networks == 1 else [networks, 4])
    assert seen == [(networks, shape, shape, "a")]
    expected = torch.stack([model.get_buffer("shift") + images[0] for model in models])
    torch.testing.assert_close(out, expected)

"""Measures of the weights: by hand, by definition, and by scaling laws."""

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asvit.models import convert
from proxies.saliency import (
    dss,
    fisher,
    gradient_norm,
    grasp,
    snip,
    synflow,
    zico,
)
from tests.asvit.models.families import deit
from tests.proxies.networks import (
    Attention,
    Lambda,
    MultiHead,
    Tied,
    asvit_network,
    convolutions,
    timm_network,
)

AS_VIT = asvit_network("5,2,2|2,2,3|3,1,2|2,1,2|16,8", 32)


def queries() -> nn.Module:
    """PyTorch's own attention, to keys and values of other widths."""
    return Lambda(
        lambda own, x: own.attend(own.query(x.flatten(2)), x[:, 0], x[:, 1])[0].mean(1),
        query=nn.Linear(64, 6),
        attend=nn.MultiheadAttention(6, 2, bias=False, kdim=8, vdim=8, batch_first=True),
    )


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "as-vit": AS_VIT,
    "hallucinated": lambda: convert(deit(), attention="hallucinated"),
    "tied": Tied,
    "multi-head": MultiHead,
    "queries": queries,
    "convolutions": convolutions,
}
SIDES = {"as-vit": 32, "hallucinated": 32, "multi-head": 16}


def batch(side: int = 8, images: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(images, 3, side, side, dtype=torch.float64, generator=generator)
    return pixels, torch.arange(images) * 7


def network_and_batch(name: str, images: int = 3) -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    make = Caching if name == "caching" else NETWORKS[name]
    return make().double(), *batch(SIDES.get(name, 8), images)


def one_linear_map() -> tuple[nn.Module, Tensor, Tensor]:
    """Logits (1, 2) for the input (1, 2), with class 0 the true one."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False)).double()
    with torch.no_grad():
        model[1].weight.copy_(torch.eye(2))
    image = torch.tensor([1.0, 2.0], dtype=torch.float64).reshape(1, 1, 1, 2)
    return model, image, torch.tensor([0])


P = math.e / (1 + math.e)  # what the softmax of (1, 2) gives to the second class


def test_by_hand() -> None:
    # ∂L/∂z = (−P, P), so ∂L/∂W = [[−P, −2P], [P, 2P]] beside W = [[1, 0], [0, 1]] and z = (1, 2).
    example = one_linear_map()
    assert snip(*example) == pytest.approx(P + 2 * P)
    assert gradient_norm(*example) == pytest.approx(P * math.sqrt(1 + 4 + 1 + 4))
    assert fisher(*example) == pytest.approx(P**2 + (2 * P) ** 2)
    # L = log(1 + eᵈ) with d = z₁ − z₀ = 1: g = P ∇d, H = P (1 − P) ∇d ∇dᵀ, θ·∇d = d, ‖∇d‖² = 10.
    assert grasp(*example) == pytest.approx(-10 * P**2 * (1 - P))


def backward(model: nn.Module, images: Tensor, labels: Tensor) -> nn.Module:
    """A copy in evaluation mode that has its gradients."""
    model = copy.deepcopy(model).eval()
    out = model(images)
    F.cross_entropy(out, labels % out.shape[1]).backward()
    return model


@pytest.mark.parametrize("name", NETWORKS)
def test_sums_over_parameters_equal_one_backward_pass(name: str) -> None:
    model, images, labels = network_and_batch(name)
    done = backward(model, images, labels)
    pairs = [(p.detach(), p.grad) for p in done.parameters() if p.grad is not None]
    assert len(pairs) > 3
    expected = sum(float((p * g).abs().sum()) for p, g in pairs)
    assert snip(model, images, labels) == pytest.approx(expected, rel=1e-10)
    expected = sum(float(g.square().sum().sqrt()) for _, g in pairs)
    assert gradient_norm(model, images, labels) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("name", sorted(NETWORKS.keys() - {"multi-head", "queries"}))
def test_fisher_equals_retained_gradients(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all calls of linear maps and convolutions, also where a layer is not called itself."""
    outputs: list[Tensor] = []

    def watch(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def call(*args: Any, **kwargs: Any) -> Tensor:
            outputs.append(function(*args, **kwargs))
            outputs[-1].retain_grad()
            return outputs[-1]

        return call

    model, images, labels = network_and_batch(name)
    with monkeypatch.context() as patch:
        for function in (F.linear, F.conv2d):
            patch.setattr(F, function.__name__, watch(function))
        backward(model, images, labels)
    expected = sum(
        float((z.detach() * z.grad).square().sum()) for z in outputs if z.grad is not None
    )
    assert fisher(model, images, labels) == pytest.approx(expected, rel=1e-10)


class Caching(nn.Module):
    """Caches what it makes of a parameter, with its graph, in evaluation mode, as TinyViT does."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.gains = nn.Linear(3, 5), nn.Parameter(torch.randn(5))
        self.cached: Tensor | None = None

    def forward(self, images: Tensor) -> Tensor:
        if self.cached is None:
            self.cached = self.gains.exp()
        hidden: Tensor = torch.tanh(self.layer(images.mean((2, 3)))) * self.cached
        return hidden


@pytest.mark.parametrize("name", [*NETWORKS, "caching"])
def test_grasp_equals_the_change_of_the_gradient_along_the_weights(name: str) -> None:
    """``gᵀHθ`` is half the change of ‖g‖² as all weights grow by a factor."""
    model, images, labels = network_and_batch(name, images=5)  # more than are taken at once

    def squared_norm(factor: float) -> float:
        scaled = copy.deepcopy(model)
        with torch.no_grad():
            for parameter in scaled.parameters():
                parameter.mul_(factor)
        done = backward(scaled, images, labels)
        return sum(float(p.grad.square().sum()) for p in done.parameters() if p.grad is not None)

    step = 1e-5
    expected = -(squared_norm(1 + step) - squared_norm(1 - step)) / (4 * step)
    assert grasp(model, images, labels) == pytest.approx(expected, rel=1e-6)


def linear_map() -> nn.Module:
    model = nn.Sequential(nn.Flatten(), nn.Linear(1, 2, bias=False)).double()
    nn.init.zeros_(model[1].weight)
    return model


@pytest.mark.parametrize(
    ("values", "labels", "expected"),
    [
        # Logits (0, 0), class 0: gradients ∓x/2, absolute 1/2 and 3/2, mean 1, deviation 1/2.
        ((1, 3), (0, 0), 2 + 2),
        # A half is averaged first: class 0 with x = 1, 1 and class 1 with x = 5 have mean −1/2.
        ((1, 1, 5, 3, 3), (0, 0, 1, 0, 0), 2 * 1 / 0.5),
    ],
)
def test_zico_by_hand(values, labels, expected) -> None:
    images = torch.tensor(values, dtype=torch.float64).reshape(-1, 1, 1, 1)
    found = zico(linear_map(), images, torch.tensor(labels))
    assert found == pytest.approx(math.log(expected))


def zico_by_weights(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    gradients = []
    for rows in (slice(0, 2), slice(2, 4)):
        done = backward(model, images[rows], labels[rows])
        gradients.append({n: p.grad for n, p in done.named_parameters()})
    score = 0.0
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.MultiheadAttention):
            ratios = 0.0
            slots = [slot for slot, _ in module.named_parameters(recurse=False)]
            for key in (f"{name}.{slot}" for slot in slots):
                if gradients[0].get(key) is None:
                    continue
                for pair in zip(*(g[key].flatten().tolist() for g in gradients), strict=True):
                    a, b = map(abs, pair)
                    mean = (a + b) / 2
                    deviation = math.sqrt(((a - mean) ** 2 + (b - mean) ** 2) / 2)
                    ratios += mean / deviation if deviation else 0
            score += math.log(ratios) if ratios else 0
    return score


@pytest.mark.parametrize("name", ["as-vit", "tied", "multi-head", "queries"])
def test_zico_equals_its_definition(name: str) -> None:
    model, images, _ = network_and_batch(name, images=4)
    labels = torch.tensor([0, 1, 5, 900])
    expected = zico_by_weights(model, images, labels)
    assert zico(model, images, labels) == pytest.approx(expected, rel=1e-6)


def test_no_variation_is_no_value() -> None:
    images = torch.randn(2, 3, 4, 4).repeat(2, 1, 1, 1)
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 3))
    assert math.isnan(zico(model, images, torch.tensor([0, 1, 0, 1])))


ONES = torch.empty(4, 1, 1, 2)  # only the shape of images counts


def two_maps(*, bias: bool = False) -> nn.Sequential:
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=bias), nn.Linear(2, 2, bias=False))
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[1.0, -2.0], [3.0, 0.0]]))
        model[2].weight.copy_(torch.tensor([[-1.0, 2.0], [0.0, 1.0]]))
        if bias:
            model[1].bias.copy_(torch.tensor([-1.0, 0.0]))
    return model


def test_synaptic_flow_by_hand() -> None:
    # |W₁|1 = (3, 3), |W₂| of that (9, 3): R = 12. Each layer's θ·∂R/∂θ is R, and there are two.
    assert synflow(two_maps(), ONES) == pytest.approx(math.log(2 * 12))


def test_a_bias_starts_paths_of_its_own() -> None:
    # From the bias 1 leads one path, of weight 1, over two parameters.
    assert synflow(two_maps(bias=True), ONES) == pytest.approx(math.log(2 * 12 + 2 * 1))


@pytest.mark.parametrize(
    "bypassed",
    [
        *(nn.LayerNorm(2), nn.BatchNorm1d(2), nn.GELU(), nn.ReLU(inplace=True), nn.Tanh()),
        *(nn.SiLU(), nn.Softsign(), nn.Tanhshrink(), nn.LogSigmoid(), nn.Softshrink()),
        *(nn.Hardshrink(), nn.Threshold(0, 0, inplace=True), nn.Hardtanh(), nn.RReLU()),
        *(nn.ELU(inplace=True), nn.LeakyReLU(inplace=True), nn.CELU(), nn.SELU(), nn.PReLU()),
        *(nn.Mish(), nn.Hardswish(), nn.Softplus(), nn.ReLU6()),
        Lambda(lambda _, x: x.clamp(0, 1)),
    ],
    ids=lambda module: type(module).__name__,
)
def test_only_weights_count(bypassed: nn.Module) -> None:
    flat, first, second = two_maps()
    model = nn.Sequential(flat, first, bypassed, second)
    assert synflow(model, ONES) == pytest.approx(math.log(2 * 12))


def paths_of_attention(model: Attention) -> float:
    """The flow with attention and norms written as what they stand for, by one backward pass."""
    model = copy.deepcopy(model).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.abs_()
    tokens = model.patch(torch.ones(1, 3, 8, 8, dtype=torch.float64)).flatten(2).transpose(1, 2)
    values = model.qkv(tokens)[..., 20:]
    (tokens + values.mean(1, keepdim=True)).mean(1).sum().backward()
    return math.log(sum(float((p.detach() * p.grad).sum()) for p in used(model)))


def used(model: nn.Module) -> list[nn.Parameter]:
    return [p for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("build", [Attention, lambda: Attention(causal=True)])
def test_attention_takes_the_mean_of_its_values(build: Callable[[], Attention]) -> None:
    model = build()
    expected = paths_of_attention(model)
    assert synflow(model, torch.empty(1, 3, 8, 8)) == pytest.approx(expected, rel=1e-12)


def test_no_path_is_no_value() -> None:
    model = two_maps()
    nn.init.zeros_(model[2].weight)
    assert math.isnan(synflow(model, ONES))


def network() -> nn.Module:
    """Attention and a linear map, which form a block, and a head."""
    attention = Lambda(lambda made, x: made.value(x), value=nn.Linear(2, 2, bias=False))
    attention.__class__ = type("Attention", (Lambda,), {})
    block = Lambda(
        lambda made, x: made.expand(made.attention(x)),
        attention=attention,
        expand=nn.Linear(2, 2, bias=False),
    )
    model = Lambda(
        lambda made, x: made.head(made.block(x.flatten(1))),
        block=block,
        head=nn.Linear(2, 2, bias=False),
    )
    nn.init.eye_(model.head.weight)
    return model


def test_dss_by_hand() -> None:
    model = network()
    with torch.no_grad():
        model.block.attention.value.weight.copy_(torch.tensor([[3.0, 0.0], [0.0, -4.0]]))
        model.block.expand.weight.copy_(torch.tensor([[1.0, -2.0], [0.0, 1.0]]))
    # By the attention's |A| = diag(3, 4), of nuclear norm 7, ∂R/∂A is (1, 3)ᵀ(1, 1), of √10 · √2.
    # Behind it is (3, 4): the saliencies of |M| = [[1, 2], [0, 1]] are 3, 8 and 4. No head.
    expected = 7 * math.sqrt(20) + 15
    assert dss(model, torch.empty(5, 1, 1, 2)) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["deit_tiny_patch16_224", "swin_tiny_patch4_window7_224"])
def test_equals_one_backward_pass(name: str) -> None:
    build, side = timm_network(name)
    model = build()
    done = copy.deepcopy(model).double().eval()
    with torch.no_grad():
        for parameter in done.parameters():
            parameter.abs_()
    done(torch.ones(1, 3, side, side, dtype=torch.float64)).sum().backward()
    expected = 0.0
    for path, module in done.named_modules():
        if path.endswith((".attn.qkv", ".attn.proj")):
            w, g = module.weight.detach(), module.weight.grad
            expected += float(torch.linalg.svdvals(w).sum() * torch.linalg.svdvals(g).sum())
        if path.endswith((".mlp.fc1", ".mlp.fc2")):
            expected += float((module.weight.detach() * module.weight.grad).abs().sum())
    assert dss(model, torch.empty(2, 3, side, side)) == pytest.approx(expected, rel=1e-9)

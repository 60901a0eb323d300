"""Synaptic flow against sums over paths; DSS by hand, by definition, and what its parts are."""

import copy
import math
import re
from collections.abc import Callable

import pytest
import timm
import torch
from torch import Tensor, nn

from proxies.saliency import dss, parts_of, synflow
from tests.proxies.networks import Attention, Lambda, asvit_network, timm_network

ONES = torch.empty(4, 1, 1, 2)  # only the shape of images counts


def two_maps(*, bias: bool = False) -> nn.Sequential:
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=bias), nn.Linear(2, 2, bias=False))
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[1.0, -2.0], [3.0, 0.0]]))
        model[2].weight.copy_(torch.tensor([[-1.0, 2.0], [0.0, 1.0]]))
        if bias:
            model[1].bias.copy_(torch.tensor([-1.0, 0.0]))
    return model


def test_by_hand() -> None:
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


@pytest.mark.parametrize(
    "build", [Attention, lambda: Attention(causal=True), lambda: WrittenOut()]
)
def test_attention_takes_the_mean_of_its_values(build: Callable[[], Attention]) -> None:
    model = build()
    expected = paths_of_attention(model)
    assert synflow(model, torch.empty(1, 3, 8, 8)) == pytest.approx(expected, rel=1e-12)


def test_no_path_is_no_value() -> None:
    model = two_maps()
    nn.init.zeros_(model[2].weight)
    assert math.isnan(synflow(model, ONES))


class WrittenOut(Attention):
    """The same with its softmax in sight."""

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patch(x).flatten(2).transpose(1, 2)
        q, k, v = self.qkv(self.norm1(tokens)).unflatten(-1, (3, 2, 5)).permute(2, 0, 3, 1, 4)
        mixed = (q @ k.transpose(-1, -2) + self.bias).softmax(dim=-1) @ v
        return (tokens + mixed.transpose(1, 2).flatten(2)).mean(1)


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


def test_by_hand_dss() -> None:
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


def test_gradients_beyond_float64_are_an_infinite_diversity() -> None:
    network = timm.create_model("nextvit_small", num_classes=10)  # batch norms, 40 blocks deep
    assert dss(network, torch.empty(1, 3, 64, 64)) == math.inf


def named(model: nn.Module) -> dict[str, str]:
    names = {parameter: name for name, parameter in model.named_parameters()}
    return {names[parameter]: part for parameter, part in reversed([*parts_of(model)])}


OURS = asvit_network("4,2,2|2,2,2|2,1,2|2,1,2|16,8", 32)


@pytest.mark.parametrize(
    ("build", "count"),
    [
        (OURS, 4 * 4),
        (timm_network("deit_tiny_patch16_224")[0], 2 * 4),
        (timm_network("swin_tiny_patch4_window7_224")[0], 6 * 4),
        (timm_network("pvt_v2_b0")[0], 4 * 5),
        (timm_network("pit_ti_224")[0], 3 * 4),
        (timm_network("vit_small_patch16_dinov3")[0], 2 * 4),
        (timm_network("crossvit_tiny_240")[0], None),
    ],
)
def test_parts_of_ours_and_of_timm(build: Callable[[], nn.Module], count: int | None) -> None:
    parts = named(build())
    assert any(".attn." in path for path in parts)
    assert count in (None, len(parts))
    for path, part in parts.items():
        assert part == ("attention" if ".attn." in path else "mlp")
        assert re.search(r"\.(attn|mlps?)\.", path)

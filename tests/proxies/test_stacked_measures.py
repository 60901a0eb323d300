"""Repeats in one vectorised pass: the values one by one, in every family of networks."""

import logging
from collections.abc import Callable

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import asvit
from proxies import Circle, measure, ntk_matrix
from proxies.expansion import curve_velocities
from proxies.ntk import ntk_kernels
from tests.proxies.networks import NETWORKS, Lambda, run_out_of_memory, small_swin

Build = Callable[[], nn.Module]
NAMES = ("length_distortion", "ntk_condition_number")


def sampled(space: str, side: int) -> Build:
    found = asvit.load_space(space)
    return lambda: found.build(found.sample(np.random.default_rng(3)), image_size=side)


def deit() -> nn.Module:
    return timm.create_model("deit_tiny_patch16_224", img_size=32, embed_dim=24, depth=2)


class InPlace(nn.Module):
    """What a weight gives is changed in place later on; samples fold into more rows and back."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 2, stride=2)
        self.norm = nn.BatchNorm2d(4)
        self.linear = nn.Linear(8, 6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        shortcut = x.flip(-1)
        x = self.norm(x)
        x += shortcut
        rows = self.linear(F.relu_(x).reshape(-1, 8))
        rows *= 2
        return rows.reshape(len(x), -1)


class SharedBias(nn.Module):
    """Attention of heads wide enough for fused kernels, with a bias that all samples share."""

    def __init__(self, *, samples: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(16, 96)
        self.bias = nn.Parameter(torch.randn(1, 2, 12, 12))
        self.samples = samples

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.linear(x.reshape(len(x), 12, 16))
        q, k, v = tokens.unflatten(-1, (3, 2, 16)).permute(2, 0, 3, 1, 4)
        bias = self.bias.repeat(len(x), 1, 1, 1) if self.samples else self.bias
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias).flatten(1)


class OwnKernels(nn.Module):
    """A convolution whose kernels depend on the image, and a map called by keywords."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 4, 2, stride=2)
        self.kernels = nn.Linear(4, 24)
        self.out = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x)
        kernels = torch.tanh(self.kernels(x.mean((2, 3)))).reshape(-1, 4, 1, 1)  # [6n, 4, 1, 1]
        x = F.conv2d(x.flatten(0, 1)[None], kernels, groups=len(x)).reshape(len(x), 6, -1)
        return F.linear(weight=self.out.weight, input=x.mean(2))


FAMILIES: dict[str, tuple[Build, int]] = {
    **NETWORKS,
    "in place": (InPlace, 8),
    "own kernels": (OwnKernels, 8),
    "shared bias": (lambda: SharedBias(samples=False), 8),
    "bias of samples": (lambda: SharedBias(samples=True), 8),
    "shiftvit": (sampled("shiftvit", 32), 32),
    "psvit": (sampled("psvit2d", 32), 32),
    "hallucinated": (lambda: asvit.convert(deit(), attention="hallucinated"), 32),
    "compact": (lambda: asvit.convert(deit(), ffn="compact"), 32),
    "deit": (deit, 32),
    "swin": (small_swin, 56),
    "resnet": (lambda: timm.create_model("resnet10t", num_classes=10), 32),
}


def networks(name: str, dtype: torch.dtype, count: int = 3) -> list[nn.Module]:
    found = []
    for seed in range(count):
        torch.manual_seed(seed)
        found.append(FAMILIES[name][0]().to(dtype))
        for module in found[-1].modules():
            if isinstance(module, nn.BatchNorm2d):  # so that statistics differ
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
    return found


def circles(side: int, count: int = 3) -> list[Circle]:
    generator = torch.Generator().manual_seed(5)
    return [Circle.random((3, side, side), 3, generator=generator) for _ in range(count)]


@pytest.mark.parametrize("name", FAMILIES)
def test_stacked_networks_give_each_network_s_values(name: str) -> None:
    side = FAMILIES[name][1]
    models, rounds = networks(name, torch.float64), circles(side)
    images = torch.randn(2, 3, side, side, dtype=torch.float64)
    pairs = zip(models, rounds, strict=True)
    expected = torch.cat([curve_velocities([model], [circle]) for model, circle in pairs])
    torch.testing.assert_close(curve_velocities(models, rounds), expected, rtol=1e-9, atol=1e-12)
    kernels = torch.stack([ntk_matrix(model, images) for model in models])
    stacked = ntk_kernels(models, images)[:, 0]
    torch.testing.assert_close(stacked, kernels, rtol=1e-9, atol=1e-9 * kernels.abs().max().item())
    assert kernels[0].ne(kernels[1]).any()
    assert all(p.requires_grad for p in models[0].parameters())


@pytest.mark.parametrize("name", ["one window", "deit", "convolutions"])
def test_repeats_together_are_the_repeats_one_by_one(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    build, side = FAMILIES[name]
    with caplog.at_level(logging.INFO, "proxies"):
        apart, together = (
            measure(build, NAMES, repeats=3, image_size=side, device="cpu", together=both)
            for both in (False, True)
        )
    assert not caplog.messages
    for measured in NAMES:
        assert together[measured].values == pytest.approx(apart[measured].values, rel=1e-4)


def looks() -> nn.Module:
    """Looks at a value of its weights: the one thing that no vectorised pass can do."""

    def signed(model: nn.Module, x: Tensor) -> Tensor:
        return model.linear(x.flatten(1)) * (1 if model.linear.weight.sum().item() > 0 else -1)

    return Lambda(signed, linear=nn.Linear(192, 4))


def different() -> nn.Module:
    """Draws more than its weights."""
    linear = nn.Linear(192, 4)
    scaled = Lambda(lambda made, x: made.linear(x.flatten(1)) * made.factor, linear=linear)
    scaled.factor = torch.rand(()).item()
    return scaled


def unseen() -> nn.Module:
    """A weight of which nothing comes."""

    def without_idle(model: nn.Module, x: Tensor) -> Tensor:
        model.idle(x.flatten(1))
        return model.linear(x.flatten(1))

    return Lambda(without_idle, linear=nn.Linear(192, 4), idle=nn.Linear(192, 4))


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (looks, r"vmap: It looks like you're calling .item\(\)"),
        (different, "differ in more than the values"),
        (unseen, "no gradient came back to idle.weight"),
    ],
)
def test_what_cannot_be_stacked_is_measured_one_by_one(
    build: Build, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings = {"repeats": 3, "image_size": 8, "device": "cpu"}
    apart = measure(build, NAMES[:2], **settings)
    with caplog.at_level(logging.INFO, "proxies"):
        together = measure(build, NAMES[:2], **settings, together=True)
    last = caplog.messages[-1]
    assert last.startswith("ntk_condition_number network by network: ")
    assert reason.replace("\\", "") in last
    assert together["ntk_condition_number"] == apart["ntk_condition_number"]
    expected = apart["length_distortion"].values
    assert together["length_distortion"].values == pytest.approx(expected, rel=1e-5)


def test_failures_keep_their_reasons() -> None:
    singular = torch.randn(2, 3, 8, 8)[[0, 0, 1]]

    def build() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(7 if torch.rand(()) < 0.5 else 192, 4))

    for images, make in ((singular, FAMILIES["tokens"][0]), (singular, build)):
        settings = {"repeats": 3, "images": images, "device": "cpu"}
        apart = measure(make, NAMES[:2], **settings)
        together = measure(make, NAMES[:2], **settings, together=True)
        assert apart["ntk_condition_number"].reason
        for name in NAMES[:2]:
            assert together[name].reason == apart[name].reason
            assert len(together[name].values) == len(apart[name].values)


@pytest.mark.parametrize("count", [1, 3])
def test_smaller_pieces_of_all_networks_when_memory_runs_out(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    models, rounds = networks("attention", torch.float64, count), circles(8, count)
    expected = curve_velocities(models, rounds)
    run_out_of_memory(monkeypatch, models[0], most=2)
    torch.testing.assert_close(curve_velocities(models, rounds), expected)

"""Every measure on every kind of network: a value or one line why not, and nothing left behind."""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import asvit
import proxies
from asvit.models import AsViT, ShiftViT, convert
from proxies import (
    PROXIES,
    Circle,
    Inputs,
    curve_speed,
    extrinsic_curvature,
    ntk_condition_number,
    ntk_matrix,
)
from proxies.registry import standard_measures
from tests.asvit.models.families import GOLDEN, PARTS, TINY_HOSTS, psvit, released
from tests.proxies.networks import (
    MODELS,
    NETWORKS,
    Lambda,
    asvit_network,
    chain,
    convolutions,
    timm_network,
)
from tests.proxies.oracles import curve_speed_by_rows, ntk_by_images

GRADIENT = ("synflow", "snip", "grad_norm", "grasp", "fisher", "zico", "dss")
AZ_NAS = ("az_expressivity", "az_progressivity", "az_trainability")
STRUCTURE = ("depth", "width", "expansions")
NAMES = standard_measures()
RUNS = [name for name in NAMES if name not in (*STRUCTURE, "params")]  # the network on images
NOT_DEFINED = {
    ("convnext_atto", "dss"): "ConvNeXt has no attention",
    ("resnet18", "dss"): "ResNet has no attention",
    ("resnet18", "expansions"): "no block of ResNet has a feed-forward part",
    ("shared", "naswot"): "Shared has no rectifier",
    ("shared", "fisher"): "the projections of nn.MultiheadAttention are hidden from fisher",
    ("shared", "feature_condition_number"): "the features of the images are linearly dependent",
    **{("shared", name): "Shared has no list of blocks" for name in (*AZ_NAS, *STRUCTURE)},
}


CONVERTED: dict[str, dict[str, Any]] = {
    "training form": {"attention": "hallucinated", "ffn": "compact"},
    "merged form": {"attention": "hallucinated", "ffn": "compact", "branches": 0},
}
SMALL_PSVIT = partial(
    psvit, dims=(8, 12, 16), heads=(2, 3, 4), img_size=32, patch_size=8, num_classes=3
)
GRIDS = partial(SMALL_PSVIT, ("s", "b-", "s"), pooling="2d")
LISTS = partial(SMALL_PSVIT, ("s", "b-", "s"), pooling="1d")
SMALL_SHIFTVIT = partial(ShiftViT, depths=(1, 1, 1, 1), width=24, num_classes=5)
TINY_ASVIT, TINY = "4,2,2|3,1,2|2,1,2|2,1,3|16,8", {"img_size": 32, "num_classes": 4}
# Name -> (builder, pixels per side).
OURS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "asvit, parts": (lambda: AsViT(f"{TINY_ASVIT};{PARTS},positions=absolute", **TINY), 32),
    "psvit 1d": (LISTS, 32),
    "psvit 2d": (GRIDS, 32),
    "psvit 2d, tail": (partial(SMALL_PSVIT, ("bs", "", ""), pooling="2d"), 32),
    "shiftvit": (SMALL_SHIFTVIT, 32),
    "shiftvit, norms": (partial(SMALL_SHIFTVIT, norm_layer="batchnorm2d", act_layer="relu"), 32),
    "shiftvit, no shift": (partial(SMALL_SHIFTVIT, step=0), 32),
    "shiftvit, ratio": (partial(SMALL_SHIFTVIT, ratio=1.5), 32),
} | {
    f"{name}, {form}": (lambda make=make, own=own: convert(make(), **own), side)
    for name, (make, side) in TINY_HOSTS.items()
    for form, own in CONVERTED.items()
}
TRAINED = [name for name in OURS if name.endswith("training form")]


class AttentionBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(12, 2, batch_first=True)
        self.mlp = nn.Linear(12, 12)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.mlp(self.attn(x, x, x)[0])


class Shared(nn.Module):
    """Blocks that share a module, and modules that share a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = AttentionBlock(), AttentionBlock()
        self.second.attn = self.first.attn
        self.second.mlp.weight = self.first.mlp.weight
        self.head = nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.mean(1)  # [n, 12, 12]
        return self.head(self.second(self.first(rows)).mean(1))


class Interrupts(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise KeyboardInterrupt


def builder(name: str) -> tuple[Callable[[], nn.Module], int]:
    if name == "as-vit":
        return asvit_network("8,2,3|4,1,2|4,1,2|4,1,2|16,8", 32), 32
    if name == "shared":
        return Shared, 12
    return (NETWORKS | OURS).get(name) or timm_network(name)


def inputs(side: int, images: int = 4, seed: int = 0) -> Inputs:
    circle = Circle.random((3, side, side), 3)
    return Inputs(circle, torch.randn(images, 3, side, side), torch.arange(images), seed)


def state(model: nn.Module) -> list[object]:
    """Everything that a measure could change."""
    found: list[object] = [sorted(model.__dict__), torch.get_rng_state().tolist()]
    found.append(torch.is_grad_enabled())
    for module in model.modules():
        hooks = len(module._forward_hooks), len(module._forward_pre_hooks)
        found += [module.training, sorted(module.__dict__), hooks]
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        grad = None if tensor.grad is None else (id(tensor.grad), tensor.grad.tolist())
        pointer = (id(tensor), tensor.data_ptr(), tensor._version)
        found += [name, pointer, tensor.tolist(), tensor.requires_grad, grad]
    return found


def used_before(name: str) -> tuple[nn.Module, int]:
    """A model with gradients on some parameters, some frozen, and modes of its own."""
    build, side = builder(name)
    torch.manual_seed(0)
    model = build().train()
    parameters = list(model.parameters())
    parameters[-1].grad = torch.randn_like(parameters[-1])
    parameters[0].requires_grad_(False)
    next(model.children()).eval()
    return model, side


@pytest.mark.parametrize("name", ["as-vit", "shared", *MODELS, "psvit 1d", "psvit 2d", *TRAINED])
def test_a_finite_value_or_a_reason(name: str) -> None:
    build, side = builder(name)
    images = torch.randn(4, 3, side, side)
    found = proxies.measure(build, NAMES, repeats=1, images=images, device="cpu")
    for measure, score in found.items():
        reason = NOT_DEFINED.get((name, measure), "")
        assert score.valid == (not reason), score.reason
        assert reason in score.reason
        assert score.better == PROXIES[measure].better


@pytest.mark.parametrize("measure", NAMES)
@pytest.mark.parametrize("name", ["as-vit", "shared"])
def test_the_model_is_left_as_it_was(name: str, measure: str) -> None:
    model, side = used_before(name)
    given = inputs(side)
    before = state(model)
    if measure == "feature_condition_number" and name == "shared":
        assert math.isnan(PROXIES[measure].value(model, given))
    elif (name, measure) in NOT_DEFINED:
        with pytest.raises(ValueError, match=NOT_DEFINED[name, measure]):
            PROXIES[measure].value(model, given)
    else:
        first = PROXIES[measure].value(model, given)
        assert math.isfinite(first)
        assert PROXIES[measure].value(model, given) == first
    assert state(model) == before


class Normalising(nn.Module):
    """A network that normalises its images, in place or not."""

    def __init__(self, *, in_place: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.network = builder("as-vit")[0]()
        self.in_place = in_place

    def forward(self, x: Tensor) -> Tensor:
        x = x.sub_(0.5).div_(2) if self.in_place else (x - 0.5) / 2
        return self.network(x)


@pytest.mark.parametrize("measure", RUNS)
def test_images_are_left_as_they_were(measure: str) -> None:
    data = inputs(builder("as-vit")[1], images=3)
    before = data.images.clone()
    values = [PROXIES[measure].value(Normalising(in_place=p), data) for p in (True, False)]
    assert torch.equal(data.images, before)
    assert values[0] == pytest.approx(values[1], rel=1e-5)


@pytest.mark.parametrize("measure", RUNS)
def test_the_model_is_left_as_it_was_when_interrupted(measure: str) -> None:
    model, side = used_before("as-vit")
    model.layers[3].blocks[0].attn.proj = Interrupts()
    given = inputs(side)
    before = state(model)
    with pytest.raises(KeyboardInterrupt):
        PROXIES[measure].value(model, given)
    assert state(model) == before


@pytest.mark.parametrize("name", [*NETWORKS, *MODELS, *OURS])
def test_expansion_and_kernel_equal_their_definitions(name: str) -> None:
    build, side = builder(name)
    model = build().double()
    circle = Circle.random((3, side, side), 3, generator=torch.Generator().manual_seed(0))
    expected = curve_speed_by_rows(model, circle)
    torch.testing.assert_close(curve_speed(model, circle), expected, rtol=1e-9, atol=0)
    images = torch.randn(3, 3, side, side, dtype=torch.float64)
    expected = ntk_by_images(model, images)
    torch.testing.assert_close(ntk_matrix(model, images), expected, rtol=1e-8, atol=0)


LOSS = ("snip", "grad_norm", "grasp", "fisher", "zico")
ISOTROPY = ("az_expressivity", "az_trainability")


def applied(function: Callable[[Tensor], Any]) -> nn.Module:
    """A function of the pixels, beside a weight that it does not use."""
    return Lambda(lambda _, x: function(x), layer=nn.Linear(1, 1))


def linear(classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 8**2, classes))


def block(weight: float | None = None) -> nn.Module:
    """A block that is one convolution."""
    made = nn.Conv2d(3, 3, 1, bias=False)
    if weight is not None:
        nn.init.constant_(made.weight, weight)
    return Lambda(lambda own, x: own.map(x), map=made)


def no_rule(x: Tensor) -> Tensor:
    raise NotImplementedError


CURVE, KERNEL = ("length_distortion",), ("ntk_condition_number",)
STATIC = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(3))
REFUSED: list[tuple[tuple[str, ...], nn.Module, str]] = [
    (CURVE, applied(lambda x: torch.zeros(len(x), 3)), "ignores its input"),
    (CURVE, applied(no_rule), "Lambda cannot be differentiated forward: NotImplementedError"),
    (CURVE, applied(lambda x: (x, x)), "gives tuple for 3 images"),
    (CURVE, applied(lambda x: x.sum(0)[:2]), r"gives \(2, 8, 8\) for 3 images"),
    (KERNEL, nn.Flatten(), "no parameter with 'weight' in its name"),
    (KERNEL, Lambda(lambda _, x: x.flatten(1), layer=nn.Linear(1, 1)), "no weight of Lambda reac"),
    (KERNEL, nn.BatchNorm2d(3, track_running_stats=False), "lets samples interact"),
    (("synflow",), nn.Flatten(), "no parameter of Flatten reaches its output"),
    (("synflow",), applied(lambda x: (x, x)), "Lambda gives tuple; this measure needs one tensor"),
    (LOSS, Lambda(num_classes=0, layer=nn.Linear(1, 1)), "Lambda has num_classes=0; this measure"),
    (LOSS, nn.Conv2d(3, 2, 1), r"Conv2d gives \([23], 2, 8, 8\) for [23] images; this measure"),
    (LOSS, linear(1), "of at least 2 classes"),
    (LOSS, applied(lambda x: (x, x)), "Lambda gives tuple for"),
    (LOSS[:4], linear(2).requires_grad_(False), "Sequential has no parameter that requires a gra"),
    (LOSS, applied(lambda x: x.flatten(1)[:, :2]), "no parameter of Lambda reaches its loss"),
    (("zico",), nn.Sequential(linear(2), Lambda(lambda _, x: x / 0)), "gradients that are not"),
    (("fisher", "zico"), STATIC, "Sequential has no linear layer or convolution to train"),
    (("dss",), STATIC, "Sequential has no attention with linear maps; dss needs a transformer"),
    (("naswot",), nn.Flatten(), "Flatten has no rectifier that depends on the image"),
    (("naswot",), applied(lambda x: F.relu(x) / 0), "outputs that are not finite"),
    (("naswot",), asvit.build("4,8,2|2,4,2|2,2,2|2,1,2|16", image_size=32), "does not divide"),
    (("jacob_cov",), applied(torch.zeros_like), "output of Lambda ignores its input"),
    (("jacob_cov",), applied(lambda x: 0 * x), "Lambda gives an image a constant gradient"),
    (("jacob_cov",), nn.ModuleList(), "ModuleList"),
    (("jacob_cov",), applied(lambda x: x[0, 0]), r"gives \(8, 8\) for 3 images"),
    (ISOTROPY, nn.Flatten(), "Flatten has no list of blocks"),
    (("az_progressivity",), chain(block()), "Lambda has one primary block; at least 2"),
    (("az_trainability",), chain(block()), "Lambda has no Jacobian but the first"),
    (("az_expressivity",), chain(block(0)), "feature of Lambda is the same at"),
    (("az_trainability",), chain(block(), block(0)), "no gradient comes back through a block of"),
    (("az_expressivity",), chain(block(math.nan)), "Lambda gives features that are not finite"),
    (("az_trainability",), chain(block(), block(math.inf)), "gives gradients that are not finite"),
    (("depth",), nn.Linear(2, 2), "Linear has no list of blocks"),
    (("width",), convolutions(), "Sequential has no list of blocks"),
    # Nothing goes past single operations.
    (("depth",), chain(nn.Linear(2, 2), nn.GELU()), "Lambda has no list"),
    (("expansions",), chain(block()), "no block of Lambda has a feed"),
]


@pytest.mark.parametrize(
    ("measure", "model", "message"),
    [(measure, model, message) for measures, model, message in REFUSED for measure in measures],
)
def test_networks_that_cannot_be_measured(measure: str, model: nn.Module, message: str) -> None:
    with pytest.raises((ValueError, NotImplementedError), match=message) as refusal:
        PROXIES[measure].value(model, inputs(8, 3))
    assert len(str(refusal.value).splitlines()) == 1


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_released_numbers(path: Path) -> None:
    model, tensors, about = released(path)
    angles = torch.linspace(0, 2 * math.pi, int(about["n_theta"]))
    circle = Circle(tensors["circle_basis"], angles)
    speed, curvature = curve_speed(model, circle), extrinsic_curvature(model, circle)
    for name, found, rel in (
        ("length_distortion_unit_circle", speed.sum(), 1e-4),
        ("extrinsic_curvature", curvature.sum(), 1e-4),
        ("gauss_map_length", (speed * curvature).sum(), 1e-3),
        ("ntk_condition_number", ntk_condition_number(model, tensors["images"].float()), 1e-3),
    ):
        assert float(found) == pytest.approx(float(about[name]), rel=rel), name

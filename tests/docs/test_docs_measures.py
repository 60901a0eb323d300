"""What the page about measures says of their edges is what they do there."""

import math
import re
from collections.abc import Callable

import pytest
import timm
import torch
from doc_examples import ROOT
from torch import Tensor, nn

import proxies
from experiments import measure_ranks
from proxies.registry import standard_measures

SIDE = 32
IMAGES = torch.randn(8, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
EQUAL = IMAGES[:1].repeat(8, 1, 1, 1)
COLOURS = torch.linspace(-2, 2, 8).view(8, 1, 1, 1).expand(8, 3, SIDE, SIDE).contiguous()
PAGE = (ROOT / "docs" / "measures.md").read_text(encoding="utf-8")
EVIDENCE = (ROOT / "docs" / "evidence_measures.md").read_text(encoding="utf-8")
COUNTS = {"params", "macs", "depth", "width", "expansions"}
GRADIENTS = ("snip", "grad_norm", "grasp", "fisher", "zico")


def vit(num_classes: int = 10) -> nn.Module:
    model: nn.Module = timm.create_model(
        "vit_tiny_patch16_224", img_size=SIDE, patch_size=8, depth=3, embed_dim=48, num_heads=3,
        num_classes=num_classes,
    )  # fmt: skip
    return model


def dead() -> nn.Module:
    """A network whose second rectifier lets nothing through."""
    layers = (nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU())
    nn.init.constant_(layers[2].bias, -1e3)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))


def times(factor: float) -> nn.Module:
    model = vit()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(factor)
    return model


def zero_head() -> nn.Module:
    model = vit()
    nn.init.zeros_(model.head.weight)
    return model


def scores(
    build: Callable[[], nn.Module], *names: str, images: Tensor = IMAGES, repeats: int = 1
) -> dict[str, proxies.Score]:
    return proxies.measure(
        build,
        names or [name for name in standard_measures() if name not in COUNTS],
        key="edge",
        repeats=repeats,
        images=images,
        labels=torch.arange(len(images)) % 10,
        device="cpu",
        points=6,
    )


def values(
    build: Callable[[], nn.Module], *names: str, images: Tensor = IMAGES
) -> dict[str, float]:
    return {name: score.value for name, score in scores(build, *names, images=images).items()}


@pytest.mark.parametrize(
    ("build", "images", "without"),
    [
        (vit, IMAGES[:1], {"zico", "jacob_cov", "naswot"}),
        (vit, EQUAL, {"ntk_condition_number", "feature_condition_number", "naswot"}),
        (vit, COLOURS, {"ntk_condition_number", "feature_condition_number"}),
        (zero_head, IMAGES, {"synflow", "jacob_cov"}),
        (lambda: vit(0), IMAGES, {*GRADIENTS, "jacob_cov"}),
        (lambda: times(math.nan), IMAGES, set(standard_measures()) - COUNTS),
    ],
    ids=["one image", "equal", "colours", "zero head", "no classes", "NaN"],
)
def test_who_has_no_value(
    build: Callable[[], nn.Module], images: Tensor, without: set[str]
) -> None:
    found = scores(build, images=images)
    assert {name for name, score in found.items() if math.isnan(score.value)} == without
    assert all(found[name].reason for name in without)


def test_one_image_is_perfectly_conditioned() -> None:
    assert values(vit, "ntk_condition_number", images=IMAGES[:1]) == {"ntk_condition_number": 1.0}


def test_measures_follow_the_scale_of_the_weights() -> None:
    names = "length_distortion", "extrinsic_curvature"
    own, large = values(vit, *names), values(lambda: times(10), *names)
    assert own["length_distortion"] < 0.3
    assert large["length_distortion"] > 1e5
    assert own["extrinsic_curvature"] > 100
    assert large["extrinsic_curvature"] < 0.1


def test_dead_rectifiers() -> None:
    found = values(dead, "length_distortion", "gauss_map_length", "synflow", "naswot")
    assert found["length_distortion"] == 0
    assert math.isnan(found["gauss_map_length"])
    assert math.isfinite(found["synflow"])
    assert math.isfinite(found["naswot"])


def test_every_measure_has_its_correlations() -> None:
    assert not [name for name in standard_measures() if f"\n| {name} |" not in EVIDENCE]
    assert {*standard_measures()} - COUNTS <= {*measure_ranks.NAMES}


def test_every_measure_is_on_the_page_with_its_edges() -> None:
    edges = PAGE.split("## When each fails")[1].split("\n## ")[0]
    assert set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| `.*? \|", edges, re.M)))) == set(
        proxies.PROXIES
    )

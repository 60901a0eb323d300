"""Measures, training, compilation and export of converted networks."""

import pytest
import torch
from sklearn.datasets import load_digits
from timm.models.pvt_v2 import PyramidVisionTransformerV2
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

import asvit
import proxies
from asvit.models import PSViT, convert, merge
from asvit.training.short import Recipe, fit
from tests.proxies import oracles


def deit(channels: int = 3, side: int = 16, **changes) -> nn.Module:
    shape = {"patch_size": 4, "embed_dim": 12, "depth": 2, "num_heads": 3, "num_classes": 4}
    return VisionTransformer(in_chans=channels, img_size=side, **{**shape, **changes})


def pyramid(channels: int = 3, **changes) -> nn.Module:
    shape = {
        "depths": (1, 1),
        "embed_dims": (8, 20),
        "num_heads": (2, 5),
        "sr_ratios": (2, 1),
        "mlp_ratios": (4, 4),
        "num_classes": 4,
    }
    return PyramidVisionTransformerV2(in_chans=channels, **{**shape, **changes})


def as_vit() -> nn.Module:
    return asvit.build("5,2,2|3,1,2|2,1,2|2,1,3|16,8", image_size=32, num_classes=4)


def psvit() -> nn.Module:
    return PSViT(("s", "b"), (8, 12), (2, 3), pooling="2d", img_size=32, num_classes=4)


MODELS = {"deit": (deit, 16), "pvt": (pyramid, 32), "asvit": (as_vit, 32), "psvit": (psvit, 32)}
SETTINGS = {
    "training form": {"attention": "hallucinated", "ffn": "compact"},
    "by queries": {"attention": "hallucinated", "axis": "query", "class_token": "isolated"},
    "merged form": {"attention": "hallucinated", "ffn": "compact", "branches": 0},
}


def network(name: str, setting: str) -> nn.Module:
    torch.manual_seed(0)
    return convert(MODELS[name][0](), **SETTINGS[setting])


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("name", MODELS)
def test_curve_speed_is_that_of_the_definition(name, setting):
    model, side = network(name, setting).double(), MODELS[name][1]
    circle = proxies.Circle.random((3, side, side), 3, generator=torch.Generator().manual_seed(1))
    assert proxies.length_distortion(model, circle) > 0
    speed = proxies.curve_speed(model, circle)
    torch.testing.assert_close(
        speed, oracles.curve_speed_by_rows(model, circle), rtol=1e-9, atol=0
    )


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("name", MODELS)
def test_tangent_kernel_is_that_of_the_definition(name, setting):
    model, side = network(name, setting).double(), MODELS[name][1]
    images = torch.randn(3, 3, side, side, dtype=torch.float64)
    kernel = proxies.ntk_matrix(model, images)
    expected = oracles.ntk_by_single_images(model, images)
    torch.testing.assert_close(kernel, expected, rtol=1e-9, atol=1e-12)
    assert proxies.ntk_condition_number(model, images) >= 1


@pytest.mark.parametrize("name", MODELS)
def test_kernel_reads_every_weight_off_one_backward_pass(name, monkeypatch):
    def refuse(*_):
        raise AssertionError("a weight took a pass of its own")

    monkeypatch.setattr("proxies.ntk._gram_by_vmap", refuse)
    side = MODELS[name][1]
    proxies.ntk_matrix(network(name, "training form"), torch.randn(3, 3, side, side))


@pytest.mark.parametrize("name", MODELS)
def test_rivals_have_values(name):
    model, side = network(name, "training form"), MODELS[name][1]
    images, labels = torch.randn(4, 3, side, side), torch.tensor([0, 1, 2, 3])
    for value in (
        proxies.snip(model, images, labels),
        proxies.synflow(model, images),
        proxies.dss(model, images),
        proxies.az_expressivity(model, images),
        proxies.depth(model),
        proxies.total_expansion(model),
    ):
        assert torch.tensor(float(value)).isfinite()


@pytest.mark.parametrize("name", ["deit", "pvt"])
@torch.no_grad()
def test_compiled_networks_are_equal(name):
    model, side = network(name, "training form").eval(), MODELS[name][1]
    x = torch.randn(2, 3, side, side)
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), model(x), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_exported_networks_are_equal(name):
    model, side = network(name, "training form").eval(), MODELS[name][1]
    x = torch.randn(2, 3, side, side)
    expected = model(x)
    exported = torch.export.export(merge(model), (x,)).module()
    torch.testing.assert_close(exported(x), expected, rtol=1e-4, atol=1e-5)


def digits() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Handwritten digits, 8 x 8 pixels: the first four fifths to train on, the rest to test."""
    loaded = load_digits()
    pixels = torch.tensor(loaded.images, dtype=torch.float32)[:, None] / 8 - 1
    labels = torch.tensor(loaded.target)
    return (pixels[:1440], labels[:1440]), (pixels[1440:], labels[1440:])


@pytest.mark.parametrize(
    "make",
    [
        lambda: deit(1, 8, patch_size=2, embed_dim=24, num_classes=10),
        lambda: pyramid(1, num_classes=10, embed_dims=(16, 40)),
    ],
)
def test_converted_networks_learn_digits(make):
    torch.manual_seed(0)
    model = convert(make(), "hallucinated", "compact")
    train, test = digits()
    fitted = fit(model, train, test, Recipe(steps=150, learning_rate=5e-3), seed=0)
    assert fitted.accuracy > 45  # chance is 10
    merged = merge(model)
    with torch.no_grad():
        torch.testing.assert_close(merged(test[0]), model(test[0]), rtol=0, atol=1e-5)

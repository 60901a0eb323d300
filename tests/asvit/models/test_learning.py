"""Tiny networks learn real images, and fractals, well above chance."""

from functools import partial

import pytest
import torch
from sklearn.datasets import load_digits

import asvit
from asvit.data import load_images
from asvit.models import PSViT, convert, merge
from asvit.training.short import Recipe, fit
from tests.asvit.models.families import deit, tiny_pyramid

SHIFT = partial(asvit.build, "shift:1,2,2,1|2|8|1|16", 32)
PSVIT = [
    partial(
        PSViT, ("s", "b", "s"), (24, 32, 48), (2, 3, 4), pooling=kind, img_size=32, patch_size=8
    )
    for kind in ("1d", "2d")
]
DIGITS = Recipe(steps=240, batch_size=32, learning_rate=4e-3, warmup=20)
FRACTALS = Recipe(steps=400, batch_size=32, learning_rate=3e-3, warmup=20, flip=True)
SHORT = Recipe(steps=60, batch_size=32, learning_rate=4e-3, warmup=10)
LONG = Recipe(steps=300, batch_size=32, learning_rate=4e-3, warmup=10)


@pytest.mark.parametrize(
    ("make", "source", "count", "test", "recipe", "least"),
    [
        (SHIFT, "digits", 800, 200, SHORT, 80),
        *(
            pytest.param(make, "fractal:5", 1000, 200, FRACTALS, 40, marks=pytest.mark.nightly)
            for make in PSVIT[1:]  # chance is 20
        ),
        pytest.param(SHIFT, "fractal:10", 2000, 500, LONG, 55, marks=pytest.mark.nightly),
    ],
)
def test_networks_learn(make, source, count, test, recipe, least):
    images = load_images(source, count=count, image_size=32, seed=0)
    torch.manual_seed(0)
    model = make(num_classes=int(images.labels.max()) + 1)
    parts = (slice(count - test), slice(count - test, count))
    train, rest = ((images.pixels[part], images.labels[part]) for part in parts)
    fitted = fit(model, train, rest, recipe, seed=0)
    assert fitted.reason is None
    assert fitted.accuracy > least


@pytest.mark.parametrize(
    "make",
    [
        partial(deit, in_chans=1, img_size=8, patch_size=2, num_classes=10),
        pytest.param(
            partial(tiny_pyramid, in_chans=1, num_classes=10, embed_dims=(16, 40)),
            marks=pytest.mark.nightly,
        ),
    ],
)
def test_converted_networks_learn_digits(make):
    model = convert(make(), "hallucinated", "compact")
    loaded = load_digits()  # 8 x 8 pixels
    pixels = torch.tensor(loaded.images, dtype=torch.float32)[:, None] / 8 - 1
    labels = torch.tensor(loaded.target)
    train, test = (pixels[:1440], labels[:1440]), (pixels[1440:], labels[1440:])
    fitted = fit(model, train, test, Recipe(steps=150, learning_rate=5e-3), seed=0)
    assert fitted.accuracy > 45  # chance is 10
    merged = merge(model)
    with torch.no_grad():
        torch.testing.assert_close(merged(test[0]), model(test[0]), rtol=0, atol=1e-5)

"""Tiny PSViTs learn real images, and fractals, well above chance."""

import pytest
import torch

from asvit.data import load_images
from asvit.models import PSViT
from asvit.training.short import LabelledTensors, Recipe, fit


def parts(
    source: str, count: int, test: int, side: int
) -> tuple[LabelledTensors, LabelledTensors]:
    images = load_images(source, count=count, image_size=side, seed=0)
    cut = count - test
    train, rest = ((images.pixels[s], images.labels[s]) for s in (slice(cut), slice(cut, count)))
    return train, rest


def tiny(pooling: str, cells: tuple[str, str, str], classes: int, side: int) -> PSViT:
    torch.manual_seed(0)
    return PSViT(
        cells, (24, 32, 48), (2, 3, 4),
        pooling=pooling, img_size=side, patch_size=side // 4, num_classes=classes,
    )  # fmt: skip


@pytest.mark.parametrize("pooling", ["1d", "2d"])
def test_digits(pooling: str) -> None:
    train, test = parts("digits", 1200, 300, 32)
    recipe = Recipe(steps=240, batch_size=32, learning_rate=4e-3, warmup=20)
    fitted = fit(tiny(pooling, ("s", "b", "s"), 10, 32), train, test, recipe, seed=0)
    assert fitted.reason is None
    assert fitted.accuracy > 50  # chance is 10


@pytest.mark.slow
@pytest.mark.parametrize("pooling", ["1d", "2d"])
def test_fractals(pooling: str) -> None:
    train, test = parts("fractal:5", 1000, 200, 32)
    recipe = Recipe(steps=400, batch_size=32, learning_rate=3e-3, warmup=20, flip=True)
    fitted = fit(tiny(pooling, ("s", "b", "s"), 5, 32), train, test, recipe, seed=0)
    assert fitted.accuracy > 40  # chance is 20

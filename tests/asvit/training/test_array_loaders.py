"""Batches of images with any channels: augmented in float32, the same for any workers."""

from pathlib import Path

import pytest
import torch

from asvit.data import open_training_sets
from asvit.data.preparation import Preparation
from asvit.data.statistics import channel_statistics
from asvit.training.augmentation import augmented, draw_batch
from asvit.training.loaders import Batching, validation_loader
from asvit.training.short import Recipe
from tests.asvit.data.array_sets import make_set


@pytest.mark.parametrize(
    ("channels", "dtype", "form"),
    [(1, "uint16", "png"), (2, "float32", "npy"), (5, "uint16", "bands"), (13, "int16", "bands")],
)
def test_validation_batches_are_what_prediction_prepares(
    tmp_path: Path, channels: int, dtype: str, form: str
) -> None:
    sets = open_training_sets(
        str(make_set(tmp_path / "set", channels, dtype, form=form)), image_size=16, seed=0
    )
    own = channel_statistics(sets.train)
    batching = Batching(image_size=16, batch_size=3, mean=own.mean, std=own.std)
    images, labels = zip(*validation_loader(sets.validation, batching), strict=True)
    prepare = Preparation(16, sets.kind, own.mean, own.std)
    expected = [prepare(sets.validation.picture(n)) for n in range(len(sets.validation))]
    torch.testing.assert_close(torch.cat(images), torch.stack(expected), rtol=1e-4, atol=1e-4)
    assert torch.cat(labels).tolist() == sets.validation.labels.tolist()


@pytest.mark.parametrize("channels", [1, 2, 5, 13])
def test_the_short_recipe_varies_each_channel(channels: int) -> None:
    pixels = torch.randn(4, channels, 8, 8, generator=torch.Generator().manual_seed(0))
    augmentation = Recipe(steps=1, color_jitter=0.4).augmentation
    varied, again = (
        augmented(pixels, draw_batch(4, pixels.shape[1:], augmentation, generator))
        for generator in (torch.Generator().manual_seed(0) for _ in range(2))
    )
    assert torch.equal(varied, again)
    for before, after in zip(pixels.flatten(0, 1), varied.flatten(0, 1), strict=True):
        gain = float((after.max() - after.min()) / (before.max() - before.min()))
        torch.testing.assert_close(
            after - gain * before, (after - gain * before).mean().expand(8, 8)
        )
        assert abs(gain - 1) <= 0.2 + 1e-5

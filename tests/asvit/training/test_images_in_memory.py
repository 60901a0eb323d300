"""Sets in memory: decoded once, and augmented in whole batches."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from asvit.data import FractalDataset, LabelledImages, open_dataset
from asvit.data.cache import decode, fit_in_memory
from asvit.data.kinds import ImageKind
from asvit.data.preparation import Preparation
from asvit.training.augmentation import Augmentation, augmented, draw_batch
from asvit.training.loaders import Batching, _MemoryBatches, train_loader

OFF = Augmentation(
    auto_augment="none",
    color_jitter=0.0,
    erasing=0.0,
    mixup=0.0,
    cutmix=0.0,
    flip=0.0,
    crop_scale=1.0,
)


def varied(images: Tensor, augmentation: Augmentation, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return augmented(images, draw_batch(len(images), images.shape[1:], augmentation, generator))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 6), st.sampled_from([0.0, 0.5, 1.0]), st.integers(1, 3), st.integers(0, 99))
def test_shifts_and_flips_move_whole_pixels(
    most: int, flips: float, channels: int, seed: int
) -> None:
    """Each image is itself or its mirror image, moved, with its edge repeated."""
    images = torch.randn(5, channels, 7, 7, generator=torch.Generator().manual_seed(seed))
    moved = varied(images, replace(OFF, shift=most, flip=flips), seed)
    sides = {0.0: [False], 0.5: [False, True], 1.0: [True]}[flips]
    steps = range(-most, most + 1)
    for before, after in zip(images, moved, strict=True):
        possible = [
            np.pad(image.numpy(), ((0, 0), (most, most), (most, most)), "edge")[
                :, most + row : most + row + 7, most + column : most + column + 7
            ]
            for flip in sides
            for image in [before.flip(2) if flip else before]
            for row in steps
            for column in steps
        ]
        apart = min(float(np.abs(one - after.numpy()).max()) for one in possible)
        assert apart < 1e-5


def test_erased_rectangles_have_one_colour_and_the_areas_of_timm() -> None:
    images = torch.zeros(4000, 3, 20, 20)
    erased = varied(images, replace(OFF, erasing=0.25))
    changed = (erased != 0).all(dim=1)
    areas = changed.sum(dim=(1, 2)) / 400
    assert float((areas > 0).float().mean()) == pytest.approx(0.25, abs=0.03)
    some = areas[areas > 0]
    assert some.min() >= 0.015
    assert some.max() <= 0.36
    for image, where in zip(erased[areas > 0][:20], changed[areas > 0][:20], strict=True):
        rows, columns = where.any(dim=1).nonzero(), where.any(dim=0).nonzero()
        box = where[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        assert box.all()
        assert all(len(channel[where].unique()) == 1 for channel in image)


def write(folder: Path, count: int = 6, size: tuple[int, int] = (24, 20)) -> LabelledImages:
    rng = np.random.default_rng(0)
    for number in range(count):
        path = folder / f"class{number % 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)
    return open_dataset(str(folder))


@pytest.mark.parametrize("how", [{}, {"crop_mode": "border"}, {"crop_mode": "squash"}])
def test_a_decoded_set_is_what_its_preparation_gives(tmp_path: Path, how: Any) -> None:
    images = write(tmp_path)
    prepare = Preparation(16, crop_pct=1.0, **how)
    pixels = decode(images, prepare)
    assert pixels.dtype == torch.uint8
    expected = torch.stack([prepare.crop(images.picture(at)) for at in range(6)])
    assert torch.equal(pixels, expected)


@pytest.mark.parametrize(("channels", "whole"), [(1, True), (2, False)])
def test_numbers_of_arrays_are_kept_exactly(channels: int, whole: bool) -> None:
    class Arrays(FractalDataset):
        @property
        def kind(self) -> ImageKind:
            return ImageKind(channels, "float32", picture=False)

        def picture(self, index: int) -> Any:
            values = np.arange(8 * 8 * channels, dtype=np.float32).reshape(8, 8, channels) + index
            return values if whole else values + 0.5

    images = Arrays(2, 3, 8)
    prepare = Preparation(8, images.kind, (0.0,) * channels, (1.0,) * channels, crop_pct=1.0)
    values = decode(images, prepare)
    assert values.dtype == (torch.uint8 if whole else torch.float32)
    expected = np.stack([np.moveaxis(images.picture(at), -1, 0) for at in range(6)])
    assert np.array_equal(values.numpy(), expected)


def test_what_took_long_is_not_decoded_again_until_a_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASVIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("asvit.data.cache._SLOW", 0.0)
    prepare, folder = Preparation(16, crop_pct=1.0), tmp_path / "pictures"
    images = write(folder)
    first, counted = decode(images, prepare), list[int]()
    monkeypatch.setattr(
        "asvit.data.cache.decoded",
        lambda own, *given: counted.append(len(own)) or _fresh(own, *given),
    )
    assert torch.equal(decode(open_dataset(str(folder)), prepare), first)
    assert counted == []
    decode(images, replace(prepare, image_size=8))
    decode(images.on("white"), prepare)
    assert counted == [6, 6]
    Image.new("RGB", (24, 20)).save(folder / "class0" / "0.png")
    os.utime(folder / "class0" / "0.png", ns=(1, 1))
    assert decode(images, prepare)[0].sum() == 0
    assert counted == [6, 6, 6]


def test_sets_in_memory_of_equal_labels_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASVIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("asvit.data.cache._SLOW", 0.0)
    labels = np.array([0, 1])
    for grey in (10, 200):
        pixels = np.full((2, 8, 8), grey, dtype=np.uint8)
        images = LabelledImages(f"grey {grey}", ("a", "b"), labels, pixels.__getitem__)
        assert decode(images, Preparation(8, crop_pct=1.0)).unique().tolist() == [grey]


def _fresh(images: Any, preparation: Preparation, *_: Any) -> Any:
    values = [preparation.crop(images.picture(at)) for at in range(len(images))]
    return torch.stack(values)


@pytest.mark.parametrize(
    ("recipe", "most", "memory"),
    [(OFF, 10**6, True), (OFF, 6_000, False), (replace(OFF, auto_augment="3a"), 10**6, False)],
)
def test_only_sets_that_fit_are_kept(
    recipe: Augmentation, most: int, memory: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asvit.data.cache.MOST", most)
    side = 16
    images = FractalDataset(2, 4, side)  # 768 bytes each
    loader = train_loader(images, Batching(image_size=side, batch_size=4, augmentation=recipe))
    assert isinstance(loader._batches.batches, _MemoryBatches) == memory
    assert fit_in_memory(images, side) == (most > 6_144)
    assert next(iter(loader))[0].shape == (4, 3, side, side)

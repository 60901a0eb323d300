"""Mean and standard deviation of channels: against numpy, whatever the offset; bad images."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from asvit.data import load_images, open_dataset
from asvit.data.base import LabelledImages
from asvit.data.kinds import ImageKind
from asvit.data.statistics import channel_statistics
from tests.asvit.data.array_sets import make_set

Array = np.ndarray[Any, Any]


class InMemory(LabelledImages):
    """Arrays as a set."""

    def __init__(self, arrays: list[Array]) -> None:
        labels = np.arange(len(arrays), dtype=np.int64) % 2
        super().__init__("arrays", ("a", "b"), labels)
        self.arrays = arrays

    @property
    def kind(self) -> ImageKind:
        return ImageKind(self.arrays[0].shape[-1], self.arrays[0].dtype.name, picture=False)

    def picture(self, index: int) -> Array:
        return self.arrays[index]


def plainly(arrays: list[Array]) -> tuple[Array, Array]:
    """Every image counts alike: the mean of means, and of squares about it."""
    wide = [array.astype(np.longdouble) for array in arrays]
    mean = np.mean([array.mean((0, 1)) for array in wide], axis=0)
    return mean, np.sqrt(np.mean([((array - mean) ** 2).mean((0, 1)) for array in wide], axis=0))


@pytest.mark.parametrize("channels", [1, 2, 5, 13])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_against_the_definition(channels: int, dtype: str) -> None:
    rng = np.random.default_rng(0)
    sides = [(9, 12), (30, 7), (1, 5), (16, 16)]  # sizes do not weigh
    arrays = [rng.uniform(0, 250, (*side, channels)).astype(dtype) for side in sides]
    found = channel_statistics(InMemory(arrays))
    mean, std = plainly(arrays)
    scale = 255 if dtype == "uint8" else 1
    np.testing.assert_allclose(found.mean, mean / scale, rtol=1e-12)
    np.testing.assert_allclose(found.std, std / scale, rtol=1e-12)


@given(st.integers(0, 2**32), st.floats(1e-3, 1e3), st.integers(0, 7))
def test_an_offset_that_dwarfs_the_deviation_costs_no_digits(
    seed: int, spread: float, power: int
) -> None:
    rng = np.random.default_rng(seed)
    arrays = [10.0**power + spread * rng.standard_normal((6, 7, 2)) for _ in range(5)]
    found = channel_statistics(InMemory(arrays))
    mean, std = plainly(arrays)
    np.testing.assert_allclose(found.mean, mean, rtol=1e-13)
    np.testing.assert_allclose(found.std, std, rtol=1e-6)


def test_bad_images_are_all_named_at_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = make_set(tmp_path / "set", 2, "float32", form="npy")
    for name in ("class0/001.npy", "class1/002.npy"):
        broken = np.load(folder / name)
        broken[0, 0, 0] = np.nan
        np.save(folder / name, broken)
    images = open_dataset(str(folder))
    words = r"^2 of 12 images .*; repair or remove them: class0/001\.npy, class1/002\.npy$"
    with pytest.raises(ValueError, match=words):
        channel_statistics(images)
    assert "1 of its numbers are NaN" in caplog.text


def test_constants(caplog: pytest.LogCaptureFixture) -> None:
    """A constant channel, and constant images, are told of; only constants are refused."""
    rng = np.random.default_rng(0)
    arrays = [np.stack([rng.random((4, 4)), np.full((4, 4), 7.1)], -1) for _ in range(3)]
    arrays.append(np.full((4, 4, 2), 7.1))
    with caplog.at_level(logging.WARNING):
        found = channel_statistics(InMemory(arrays))
    assert found.std[1] == 1
    assert found.std[0] > 0.1
    assert [record.message for record in caplog.records] == [
        "channel(s) 2 have the same value in all images, and tell nothing: arrays",
    ]
    with pytest.raises(
        ValueError, match=r"^all images have the same value at every pixel: arrays"
    ):
        channel_statistics(InMemory([np.full((4, 4, 2), 7.1)] * 3))


def test_statistics_that_are_not_finite_are_refused() -> None:
    arrays = [np.random.default_rng(0).random((4, 4, 2)) for _ in range(3)]
    arrays[1][0, 0, 1] = np.nan
    with pytest.raises(
        ValueError, match=r"^arrays has numbers that are NaN, infinite or huge; replace them"
    ):
        channel_statistics(InMemory(arrays))


def test_images_in_memory_are_normalised_by_their_own(tmp_path: Path) -> None:
    folder = str(make_set(tmp_path / "set", 5))
    images = load_images(folder, count=12, image_size=16, seed=0)
    assert (images.channels, images.own_statistics) == (5, True)
    pixels = images.pixels.double()
    torch.testing.assert_close(pixels.mean((0, 2, 3)), torch.zeros(5).double(), atol=1e-5, rtol=0)
    std = pixels.std((0, 2, 3), correction=0)
    torch.testing.assert_close(std, torch.ones(5).double(), atol=1e-5, rtol=0)
    assert load_images(folder, count=12, image_size=16, seed=0).digest == images.digest
    some = load_images(folder, count=4, image_size=16, seed=0)
    assert some.labels.tolist() == images.labels[:4].tolist()

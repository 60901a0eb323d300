"""From an image to what a network takes: as before for pictures, in float32 for arrays."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from timm.data import create_transform
from torchvision.transforms.v2 import functional as tvf

from asvit.core.shared_settings import FITS
from asvit.data import MEAN, STD
from asvit.data.kinds import PICTURES, ImageKind
from asvit.data.preparation import (
    CROP_MODES,
    Preparation,
    as_tensor,
    shown_channels,
    square,
    thumbnail_of,
    visible,
)
from tests.asvit.data.array_sets import write

DEEP = ImageKind(5, "uint16", picture=False)


def noise(*shape: int, dtype: str = "uint16") -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).integers(0, 60_000, shape).astype(dtype)


@pytest.mark.parametrize("mode", CROP_MODES)
@pytest.mark.parametrize("crop", [0.8, 1.0])
@pytest.mark.parametrize("size", [(40, 52), (90, 30), (21, 130), (40, 40)])
def test_pictures_are_prepared_as_by_timm(
    size: tuple[int, int], crop: float, mode: str, tmp_path: Path
) -> None:
    picture = Image.fromarray(noise(*size, 3, dtype="uint8") // 2 + 60)  # no number is cut
    picture.save(tmp_path / "a.png")
    how: Any = {"interpolation": "bicubic", "crop_pct": crop, "crop_mode": mode}
    timms = create_transform(32, mean=MEAN, std=STD, **how)
    prepare = Preparation(32, **how)
    level = 1 / 255 / min(STD)  # may differ, as Pillow begins with the faster direction
    torch.testing.assert_close(prepare(picture), timms(picture), rtol=0, atol=1.01 * level)
    assert torch.equal(prepare.read(tmp_path / "a.png"), prepare.crop(picture))
    assert prepare.crop(picture).dtype == torch.uint8


def test_arrays_keep_their_numbers() -> None:
    """At their own size nothing is lost: what is normalised gives every number back."""
    array = noise(32, 32, 5)
    mean, std = tuple(map(float, range(5))), (2.0, 3.0, 4.0, 5.0, 6.0)
    prepare = Preparation(32, DEEP, mean, std, crop_pct=1.0)
    found = prepare(array)
    back = found * torch.tensor(std).view(5, 1, 1) + torch.tensor(mean).view(5, 1, 1)
    assert torch.equal(back.round().int(), as_tensor(array).int())


def test_arrays_are_resized_by_torchvision(tmp_path: Path) -> None:
    array = noise(40, 50, 5)
    pixels = Preparation(32, DEEP, crop_pct=0.875, mean=(0,) * 5, std=(1,) * 5).crop(array)
    resized = tvf.resize(as_tensor(array), [36], tvf.InterpolationMode.BICUBIC, antialias=True)
    assert torch.equal(pixels, tvf.center_crop(resized, [32]))
    squashed = Preparation(32, DEEP, crop_mode="squash", mean=(0,) * 5, std=(1,) * 5).crop(array)
    both = tvf.resize(as_tensor(array), [36, 36], tvf.InterpolationMode.BICUBIC, antialias=True)
    assert torch.equal(squashed, tvf.center_crop(both, [32]))
    bordered = Preparation(32, DEEP, (7,) * 5, (1,) * 5, crop_pct=1.0, crop_mode="border")
    longer = tvf.resize(as_tensor(array), [26, 32], tvf.InterpolationMode.BICUBIC, antialias=True)
    assert torch.equal(bordered.crop(array), tvf.pad(longer, [0, 3], fill=7))
    path = write(tmp_path / "a", array, "npy")
    assert torch.equal(Preparation(32, DEEP).read(path), pixels)
    with pytest.raises(ValueError, match=r"a\.npy': it is 5 channels of uint16, not 8-bit RGB"):
        Preparation(32).read(path)


def test_8_bit_channels_are_scaled_to_1() -> None:
    kind = ImageKind(2, "uint8", picture=False)
    array = np.full((8, 8, 2), 255, np.uint8)
    assert (Preparation(8, kind, (0, 0.5), (1, 0.5), crop_pct=1.0)(array) == 1).all()


@pytest.mark.parametrize(
    "kind", [PICTURES, DEEP, ImageKind(1, picture=False, reading="grey"), ImageKind(reading="rgb")]
)
def test_facts_give_it_back(kind: ImageKind) -> None:
    own = Preparation(32, kind, (0.5,) * kind.channels, (0.25,) * kind.channels, "bilinear", 0.9)
    assert Preparation.of(32, kind.channels, own.facts) == own
    assert ("pixels" in own.facts) == (kind != PICTURES)
    assert "crop_mode" not in own.facts
    for mode in ("squash", "border"):
        other = replace(own, crop_mode=mode)
        assert Preparation.of(32, kind.channels, other.facts) == other


def test_channels_that_nothing_is_known_of_are_refused() -> None:
    with pytest.raises(ValueError, match="the network takes 5 channels, and its weights do not"):
        Preparation.of(32, 5, {})


@given(
    *(st.integers(1, 60), st.integers(1, 60), st.integers(8, 40), st.integers(1, 6)),
    st.sampled_from([*FITS]),
)
def test_square_of_any_shape(width: int, height: int, size: int, channels: int, fit: str) -> None:
    array = np.zeros((height, width, channels), np.float32)
    found = square(array, size, fit)
    assert isinstance(found, np.ndarray)
    assert found.shape == (size, size, channels)
    picture = square(Image.new("RGB", (width, height)), size, fit)
    assert isinstance(picture, Image.Image)
    assert picture.size == (size, size)


@pytest.mark.parametrize(
    ("channels", "words"),
    [(1, "channel 1, from"), (2, "channel 1, from"), (5, "channels 1, 2 and 3 as red, green")],
)
def test_thumbnails_of_arrays(channels: int, words: str) -> None:
    """The whole range of an image of 12 bits is shown, an outlier does not hide it."""
    array = np.tile(np.linspace(0, 4095, 100).astype(np.uint16)[:, None, None], (1, 50, channels))
    array[0, 0] = 65535
    small = thumbnail_of(array, 20)
    assert (small.mode, small.size) == ("RGB", (10, 20))
    grey = np.asarray(small)
    assert grey.min() < 10
    assert grey.max() > 245
    assert words in shown_channels(ImageKind(channels, "uint16", picture=False))
    assert visible(as_tensor(np.zeros((4, 4, channels)))).eq(0).all()

"""From an image, as it was read, to what a network takes: resized, cropped, normalised.

Pictures are resized by Pillow, as timm does it, to 8 bits; arrays by PyTorch, in float32.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final, Self, cast

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from asvit.core.shared_settings import BLACK, FITS
from asvit.data.decoding import read_as
from asvit.data.kinds import MEAN, PICTURES, STD, Array, ImageKind, Picture, Statistics

#: How images are resized before the centre crop, as timm calls it: by the shorter side, by the
#: longer one with a border around the other, or both sides to the same length.
CENTER, BORDER, SQUASH = CROP_MODES = tuple(FITS.values())
#: Facts that files of weights have of it, and timm's configurations under the same names.
PREPARATION: Final = ("mean", "std", "interpolation", "crop_pct")

#: An image to ``[C, S, S]``: uint8 of pictures, float32 of arrays, before normalisation.
PictureTransform = Callable[[Picture], Tensor]


@dataclass(frozen=True)
class Preparation:
    """How images are prepared for a trained network, as those that it was tested on.

    Pixels are divided by the ``scale`` of their kind, then normalised by ``mean`` and ``std`` of
    each channel. The names of the fields but the first two are those of facts in files of weights.

    Example:
        >>> kind = asvit.data.ImageKind(2, "uint16", picture=False)
        >>> prepare = asvit.data.Preparation(32, kind, mean=(900, 40), std=(300, 9))
        >>> prepare(np.ones((40, 48, 2), np.uint16)).shape
        torch.Size([2, 32, 32])
    """

    image_size: int  # pixels per side
    kind: ImageKind = PICTURES
    mean: Statistics = MEAN
    std: Statistics = STD
    interpolation: str = "bicubic"  # of resizing, as timm calls it
    crop_pct: float = 0.875  # of the resized side: that of the centre crop
    crop_mode: str = CENTER  # one of ``CROP_MODES``
    ground: str = BLACK  # under transparent pictures, one of ``GROUNDS``

    @classmethod
    def of(cls, image_size: int, channels: int, facts: Mapping[str, Any]) -> Self:
        """That of a network for so many channels, with these facts about its training."""
        names = (*PREPARATION, "crop_mode", "ground")
        own = {name: facts[name] for name in names if name in facts}
        kind = ImageKind.of(facts.get("pixels", ""), channels)
        if kind.channels != channels:
            raise ValueError(
                f"the network takes {channels} channels, and its weights do not say of what images"
            )
        return cls(image_size, kind, **own)

    @property
    def facts(self) -> dict[str, Any]:
        """What files of weights store of it."""
        pixels = {"pixels": self.kind.stored} if self.kind.stored else {}
        mode = {} if self.crop_mode == CENTER else {"crop_mode": self.crop_mode}
        ground = {} if self.ground == BLACK else {"ground": self.ground}
        always = {name: getattr(self, name) for name in PREPARATION}
        return {**always, **mode, **ground, **pixels}

    @property
    def geometry(self) -> tuple[object, ...]:
        """What decides the pixels of :attr:`crop`."""
        border = self.mean if self.crop_mode == BORDER else ()
        how = self.interpolation, self.crop_pct, self.crop_mode, border
        return (self.image_size, self.kind, *how)

    @cached_property
    def crop(self) -> PictureTransform:
        """Resizes by :attr:`crop_mode`, then crops the centre: ``[C, S, S]``, not normalised.

        Borders have the colour :attr:`mean`.
        """
        from torchvision.transforms import Compose

        side = math.floor(self.image_size / self.crop_pct)  # as timm rounds it
        how: dict[str, Any] = {"side": side, "mode": self.crop_mode, "how": self.interpolation}
        border = self.mean if self.crop_mode == BORDER else (0.0,) * self.kind.channels
        fill = [self.kind.scale * value for value in border]
        if self.kind.picture:
            fill = [round(value) for value in fill]
            of_images = [partial(_resize_picture, **how), _as_bytes]
        else:
            of_images = [as_tensor, partial(_resize_array, **how)]
        centre = partial(_centre, size=self.image_size, fill=fill)
        return cast("PictureTransform", Compose([*of_images, centre]))

    def normalise(self, pixels: Tensor) -> Tensor:
        """Pixels ``[..., C, S, S]`` of :attr:`crop` as the network takes them, float32."""
        mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (self.mean, self.std))
        return (pixels.float() / self.kind.scale - mean) / std

    def __call__(self, picture: Picture) -> Tensor:
        """An image as the network takes it, ``[C, S, S]`` float32."""
        return self.normalise(self.crop(picture))

    def read(self, path: Path) -> Tensor:
        """Read a file, and crop it as :attr:`crop` does; a ValueError names what is unreadable."""
        return self.crop(read_as(path, self.kind, self.ground))


def resized_sides(sides: tuple[int, int], *, side: int, crop_mode: str) -> tuple[int, int]:
    """Width and height, or height and width, of an image after it is resized to ``side``."""
    first, second = sides
    if crop_mode == SQUASH:
        return side, side
    if crop_mode == BORDER:
        ratio = max(sides) / side
        return max(1, round(first / ratio)), max(1, round(second / ratio))
    return side * first // min(sides), side * second // min(sides)


def _resize_picture(image: Image.Image, *, side: int, mode: str, how: str) -> Image.Image:
    # Pillow rounds to 8 bits after each direction. Here the width is first, as in exported graphs.
    width, height = resized_sides(image.size, side=side, crop_mode=mode)
    if (width, height) == image.size:
        return image
    filter = Image.Resampling[how.upper()]
    return image.resize((width, image.height), filter).resize((width, height), filter)


def _resize_array(pixels: Tensor, *, side: int, mode: str, how: str) -> Tensor:
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.v2 import functional as tvf

    sides = resized_sides((pixels.shape[1], pixels.shape[2]), side=side, crop_mode=mode)
    if sides == tuple(pixels.shape[1:]):
        return pixels
    output: Tensor = tvf.resize(pixels, [*sides], InterpolationMode(how), antialias=True)
    return output


def _centre(pixels: Tensor, *, size: int, fill: Sequence[float]) -> Tensor:
    """The centre ``[C, S, S]`` of ``[C, H, W]``, with a border where that is smaller.

    Rounded as by timm.
    """
    for axis in (1, 2):
        if (more := pixels.shape[axis] - size) > 0:
            pixels = pixels.narrow(axis, round(more / 2), size)
    height, width = pixels.shape[1:]
    if (height, width) == (size, size):
        return pixels
    square = torch.tensor(fill, dtype=pixels.dtype).view(-1, 1, 1).repeat(1, size, size)
    top, left = (size - height) // 2, (size - width) // 2
    square[:, top : top + height, left : left + width] = pixels
    return square


def _as_bytes(picture: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)


def as_tensor(array: Picture) -> Tensor:
    """An array ``[H, W, C]`` as ``[C, H, W]`` float32."""
    pixels = np.ascontiguousarray(np.moveaxis(np.asarray(array), -1, 0), np.float32)
    return torch.from_numpy(pixels)


def square(picture: Picture, side: int, fit: str, mean: Statistics = MEAN) -> Picture:
    """Fit an image into a square (bicubic, antialiased), in one of ``FITS``.

    An array becomes ``[S, S, C]`` float32. A border has the colour ``mean``, of an array its own.
    """
    if isinstance(picture, Image.Image):
        if fit == "crop":
            return ImageOps.fit(picture, (side, side), Image.Resampling.BICUBIC)
        kind = PICTURES
    else:
        kind = ImageKind(picture.shape[-1], picture.dtype.name, picture=False)
        mean = tuple((picture.mean(axis=(0, 1), dtype=np.float64) / kind.scale).tolist())
    prepare = Preparation(side, kind, mean, crop_pct=1.0, crop_mode=FITS[fit])
    array: Array = prepare.crop(picture).permute(1, 2, 0).numpy()
    return Image.fromarray(array) if kind.picture else array


def thumbnail_of(picture: Picture, side: int) -> Image.Image:
    """A small picture of an image, of an array as :func:`shown_channels` says."""
    if isinstance(picture, Image.Image):
        small = picture.copy()
    else:
        small = Image.fromarray(visible(as_tensor(picture)).permute(1, 2, 0).numpy())
    small.thumbnail((side, side))
    return small


def visible(pixels: Tensor) -> Tensor:
    """Pixels ``[C, H, W]`` that are not normalised as a picture ``[3, H, W]`` uint8."""
    if pixels.dtype == torch.uint8:
        return pixels
    bands = pixels[: 3 if len(pixels) >= 3 else 1].double().numpy()
    low, high = np.percentile(bands, _SHOWN, axis=(1, 2))[..., None, None]
    share = np.clip((bands - low) / np.where(high > low, high - low, 1), 0, 1)
    return torch.from_numpy(np.rint(255 * share).astype(np.uint8)).expand(3, -1, -1)


_SHOWN: Final = (2, 98)  # percentiles of a channel that are black and white


def shown_channels(kind: ImageKind) -> str:
    """What thumbnails of images show, in words; empty for pictures."""
    if kind.picture:
        return ""
    which = "channels 1, 2 and 3 as red, green and blue" if kind.channels >= 3 else "channel 1"
    return f"pictures show {which}, from the 2nd to the 98th percentile of each"

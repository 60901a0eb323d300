"""What images of a set show: statistics of channels, and which are transparent or oblong."""

import logging
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageColor
from torch import Tensor

from asvit.core.shared_settings import AUTO, GROUNDS
from asvit.data.base import LabelledImages, Progress, balanced_choice, read_all, read_each
from asvit.data.kinds import MEAN, STD, Picture, Statistics, size_of
from proxies.text import listed

_log = logging.getLogger(__name__)

Floats = NDArray[np.float64]

_MOST: Final = 10_000  # images that are read for statistics of channels
SAMPLE: Final = 500  # pictures that are looked at
#: Share of the pictures' area outside their central squares, above which they are called oblong:
#: more than in photographs of 3:2, which may have odd sides.
MOST_HIDDEN: Final = 0.34
#: Contrast that is enough, of 1 from black to white: more of it in some pictures is no reason to
#: lose others.
_ENOUGH: Final = 0.25
_ALIKE: Final = 1.5  # ratio of two pictures' ratios of sides, to which squashing both is alike


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation of each channel of pixels that their kind's scale divides."""

    mean: Statistics = MEAN
    std: Statistics = STD


def channel_statistics(
    images: LabelledImages,
    *,
    seed: int = 0,
    most: int = _MOST,
    progress: Progress | None = None,
) -> Normalisation:
    """Mean and standard deviation of each channel over ``images``; ImageNet's for RGB pictures.

    Every image counts alike, whatever its size; of more than ``most`` images as many are drawn,
    balanced over classes. A channel that is the same everywhere gets the deviation 1, and a
    warning.

    Raises:
        ValueError: If images cannot be read, all of them are one constant, or a mean or deviation
            is not finite.
    """
    if images.kind.picture:
        return Normalisation()

    def read(index: int) -> tuple[Floats, Floats]:
        array = np.asarray(images.picture(index), np.float64)
        return array.mean(axis=(0, 1)), array.var(axis=(0, 1))

    places = np.sort(balanced_choice(images.labels, most, seed)).tolist()
    moments = np.array([own for _, own in read_all(images, read, places, progress)])  # [n, 2, C]
    mean, variance = moments.mean(axis=0)
    std = _checked(mean, np.sqrt(variance + moments[:, 0].var(axis=0)), images.source)
    scale = images.kind.scale
    return Normalisation(tuple((mean / scale).tolist()), tuple((std / scale).tolist()))


def standardised(pixels: Tensor, of: Tensor, source: str) -> Tensor:
    """Pixels ``[n, C, S, S]`` normalised by mean and deviation of each channel of others."""
    wide = of.double()
    mean = wide.mean(dim=(0, 2, 3))
    std = _checked(mean.numpy(), wide.std(dim=(0, 2, 3), correction=0).numpy(), source)
    centred = pixels - mean.float().view(-1, 1, 1)
    return (centred / torch.from_numpy(std).float().view(-1, 1, 1)).contiguous()


def _checked(mean: Floats, std: Floats, source: str) -> Floats:
    """Deviations that one can divide by."""
    if not np.isfinite(mean + std).all():
        raise ValueError(f"{source} has numbers that are NaN, infinite or huge; replace them")
    constant = std <= 1e-12 * np.abs(mean)  # its own deviation may differ from 0 by rounding
    if constant.all():
        raise ValueError(f"all images have the same value at every pixel: {source}")
    if constant.any():
        numbers = listed(str(1 + place) for place in np.flatnonzero(constant).tolist())
        words = "channel(s) %s have the same value in all images, and tell nothing: %s"
        _log.warning(words, numbers, source)
    return np.where(constant, 1.0, std)


@dataclass(frozen=True)
class Look:
    """What a picture shows."""

    width: int  # pixels
    height: int  # pixels
    #: Mean difference of its visible pixels from each ground, 0 to 1; none if all are opaque.
    contrast: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def at(cls, picture: Picture) -> "Look":
        """A look at a picture with its transparent pixels, or at an array."""
        if not isinstance(picture, Image.Image) or picture.mode not in ("RGBA", "LA"):
            return cls(*size_of(picture))
        *bands, alpha = (np.asarray(band).ravel() for band in picture.split())
        if alpha.min() == 255:
            return cls(*picture.size)
        counts = sum(np.bincount(band, weights=alpha, minlength=256) for band in bands)
        whole = 255 * len(bands) * max(float(alpha.sum(dtype=np.int64)), 1.0)
        levels = {ground: ImageColor.getrgb(ground)[0] for ground in GROUNDS}
        contrast = {
            ground: float(counts @ np.abs(np.arange(256) - level) / whole)
            for ground, level in levels.items()
        }
        return cls(*picture.size, contrast)


@dataclass(frozen=True)
class Survey:
    """Looks at some pictures of a set."""

    looks: Sequence[Look]

    @cached_property
    def transparent(self) -> Sequence[Look]:
        """Those at pictures with transparent pixels."""
        return [look for look in self.looks if look.contrast]

    @cached_property
    def ground(self) -> str:
        """The ground on which transparent pictures stand out; empty if there are none.

        It has the largest mean contrast, of which each picture counts no more than is enough.
        """

        def mean(ground: str) -> float:
            contrasts = (min(look.contrast[ground], _ENOUGH) for look in self.transparent)
            return round(statistics.fmean(contrasts), 9)

        return max(GROUNDS, key=mean) if self.transparent else ""

    @cached_property
    def hidden(self) -> float:
        """Mean share of the pictures' area outside their central squares."""
        sides = [(look.width, look.height) for look in self.looks]
        return statistics.fmean(1 - min(pair) / max(pair) for pair in sides) if sides else 0.0

    @property
    def fit(self) -> str:
        """How the pictures are fitted into squares so that too much is not hidden.

        Oblong ones are squashed where all are of about one shape; others are padded, which keeps
        shapes.
        """
        if self.hidden <= MOST_HIDDEN:
            return "crop"
        shapes = sorted(look.width / look.height for look in self.looks)
        least, most = (shapes[round(share * (len(shapes) - 1))] for share in (0.1, 0.9))
        return "squash" if most <= _ALIKE * least else "pad"

    @property
    def hidden_in_words(self) -> str:
        """How much of the pictures is outside their central squares, as the start of a line."""
        return f"the central squares of the pictures leave out {self.hidden:.0%} of their area"

    def transparent_in_words(self, ground: str) -> str:
        """What so many transparent pictures are laid over, in a line."""
        count, total = len(self.transparent), len(self.looks)
        return f"transparent pictures, {count:,} of {total:,} looked at, are laid over {ground}"


def survey(images: LabelledImages, *, seed: int = 0, most: int = SAMPLE) -> Survey:
    """Look at some images of a set, balanced over its classes; unreadable ones are left out."""
    whole, places = images.on(None), np.sort(balanced_choice(images.labels, most, seed)).tolist()
    read = read_each(lambda place: Look.at(whole.picture(place)), places)
    return Survey([look for _, look in read if isinstance(look, Look)])


def chosen_ground(images: LabelledImages, ground: str, *, seed: int, most: int = SAMPLE) -> str:
    """The ground that a setting names; for ``auto`` the one on which a sample stands out.

    Empty if none of the sample is transparent.
    """
    return survey(images, seed=seed, most=most).ground if ground == AUTO else ground

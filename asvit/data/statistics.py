"""Mean and standard deviation of each channel over images that are no RGB pictures."""

import logging
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asvit.data.base import LabelledImages, Progress, balanced_places, join
from asvit.data.kinds import MEAN, STD, Statistics
from asvit.data.reading import read_each, refuse_unreadable
from proxies.text import listed

_log = logging.getLogger(__name__)

Floats = NDArray[np.float64]

_MOST: Final = 10_000  # images that are read for it


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation of each channel of pixels that their kind's scale divides."""

    mean: Statistics = MEAN
    std: Statistics = STD


def channel_statistics(
    images: LabelledImages,
    *,
    others: LabelledImages | None = None,
    seed: int = 0,
    most: int = _MOST,
    advice: str = "",
    skip_bad: bool = False,
    progress: Progress | None = None,
) -> Normalisation:
    """Mean and standard deviation of each channel over ``images``; ImageNet's for RGB pictures.

    Every image counts alike, whatever its size; of more than ``most`` images as many are drawn,
    balanced over classes. Sums are float64, in the order of the images. A channel that is the same
    everywhere gets the deviation 1, and a warning.

    ``others`` are read, too, and do not count: all that cannot be read are named at once.

    Raises:
        ValueError: If images cannot be read, unless ``skip_bad``, with ``advice``; or if all of
            them are one constant; or if a mean or deviation is not finite.
    """
    if images.kind.picture:
        return Normalisation()
    places = balanced_places(images.labels, most, seed)
    both, own = images, len(images)
    if others is not None:
        both = join(images, others)
        places += [own + place for place in balanced_places(others.labels, most, seed)]
    bad, means, variances = list[tuple[str, str]](), list[Floats](), list[Floats]()

    def read(index: int) -> tuple[Floats, Floats]:
        array = np.asarray(both.picture(index), np.float64)
        return array.mean(axis=(0, 1)), array.var(axis=(0, 1))

    for index, moments in read_each(read, places, progress):
        if isinstance(moments, str):
            bad.append((both.name(index), moments))
        elif index < own:
            means.append(moments[0])
            variances.append(moments[1])
    if not means or not skip_bad:
        refuse_unreadable(bad, len(places), advice)
    mean = np.mean(means, axis=0)
    variance = np.mean(variances, axis=0) + np.var(means, axis=0)
    std = _checked(mean, np.sqrt(variance), images.source)
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
    if (endless := ~np.isfinite(mean + std)).any():
        raise ValueError(
            f"channel(s) {_numbers(endless)} have no finite mean and deviation: {source}; "
            "replace numbers that are NaN, infinite or huge"
        )
    constant = std <= 1e-12 * np.abs(mean)  # its own deviation may differ from 0 by rounding
    if constant.all():
        raise ValueError(
            f"all images have the same value {mean[0]:g} at every pixel, from which nothing is "
            f"learnt: {source}"
        )
    if constant.any():
        words = "channel(s) %s have the same value in all images, and tell nothing: %s"
        _log.warning(words, _numbers(constant), source)
    return np.where(constant, 1.0, std)


def _numbers(channels: NDArray[np.bool_]) -> str:
    """Those of channels, from 1 as reports count them."""
    return listed(str(1 + place) for place in np.flatnonzero(channels).tolist())

"""Mean and standard deviation of each channel over images that are no RGB pictures."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asvit.core.threads import in_order, or_reason
from asvit.data.base import LabelledImages, Progress, balanced_choice
from asvit.data.headers import refuse_unreadable
from asvit.data.kinds import GREY, MEAN, STD, ImageKind, Statistics
from proxies.text import listed

_log = logging.getLogger(__name__)

_MOST: Final = 10_000  # images that are read for it
_FLAT: Final = 8  # levels of 256 that pixels of a picture of nearly one colour are apart at most
_HUGE: Final = 1e30  # of a mean or deviation; missing data may be -3.4e38


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation of each channel of pixels that their kind's scale divides."""

    mean: Statistics = MEAN
    std: Statistics = STD


class _Moments(NamedTuple):
    """Mean and variance of each channel of an image, float64 ``[C]``; whether all are flat."""

    mean: NDArray[np.float64]
    variance: NDArray[np.float64]
    flat: bool


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
    own = _chosen(images, most, seed)
    more = [] if others is None else _chosen(others, most, seed)
    total = len(own) + len(more)
    bad, flat = list[tuple[str, str]](), list[str]()
    count, channels = 0, images.kind.channels
    mean, squares = np.zeros(channels), np.zeros(channels)
    read = chain(_each(images, own), _each(others or images, more))
    for done, (part, index, moments) in enumerate(read, 1):
        if isinstance(moments, str):
            bad.append((part.name(index), moments))
        elif part is images:
            # Chan's update: deviations are added, never differences of large squares.
            count += 1
            apart = moments.mean - mean
            mean = mean + apart / count
            squares = squares + moments.variance + apart**2 * (count - 1) / count
            if moments.flat:
                flat.append(images.name(index))
        if progress is not None:
            progress(done, total)
    if not count or not skip_bad:
        refuse_unreadable(bad, total, advice)
    warn_of_flat(flat, len(own))
    std = _checked(mean, np.sqrt(squares / count), images.source)
    scale = images.kind.scale
    return Normalisation(tuple((mean / scale).tolist()), tuple((std / scale).tolist()))


def _chosen(images: LabelledImages, most: int, seed: int) -> list[int]:
    """Indices of at most so many images, balanced over classes, ascending."""
    count = min(most, len(images))
    chosen: list[int] = np.sort(balanced_choice(images.labels, count, seed)).tolist()
    return chosen


def _each(
    images: LabelledImages, indices: Sequence[int]
) -> Iterator[tuple[LabelledImages, int, _Moments | str]]:
    """The moments of each image in order, or why it cannot be read."""

    def read(index: int) -> _Moments:
        array = np.asarray(images.picture(index), np.float64)
        flat = is_flat(array, images.kind)
        return _Moments(array.mean(axis=(0, 1)), array.var(axis=(0, 1)), flat)

    for index, moments in zip(indices, in_order(or_reason(read), indices), strict=True):
        yield images, index, moments


def is_flat(pixels: NDArray[Any], kind: ImageKind) -> bool:
    """Whether an image ``[H, W, C]`` of a kind has the same value at every pixel.

    Of pictures it is nearly the same; the numbers of others may be of any size.
    """
    most = _FLAT if kind.picture or kind.reading == GREY else 0
    apart = pixels.max(axis=(0, 1)).astype(np.float64) - pixels.min(axis=(0, 1))
    return bool((apart <= most).all())


def warn_of_flat(names: Sequence[str], total: int) -> None:
    """Warn of images that are flat, of so many that were read."""
    if names:
        _log.warning(
            "%d of %d image(s) have nearly the same value at every pixel, and tell nothing: %s",
            *(len(names), total, listed(names)),
        )


def standardised(pixels: Tensor, of: Tensor, source: str) -> Tensor:
    """Pixels ``[n, C, S, S]`` normalised by mean and deviation of each channel of others."""
    wide = of.double()
    mean = wide.mean(dim=(0, 2, 3))
    std = _checked(mean.numpy(), wide.std(dim=(0, 2, 3), correction=0).numpy(), source)
    centred = pixels - mean.float().view(-1, 1, 1)
    return (centred / torch.from_numpy(std).float().view(-1, 1, 1)).contiguous()


def _checked(
    mean: NDArray[np.float64], std: NDArray[np.float64], source: str
) -> NDArray[np.float64]:
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
        _log.warning(
            "channel(s) %s have the same value in all images, and tell nothing: %s",
            _numbers(constant),
            source,
        )
    if (huge := np.maximum(np.abs(mean), std) > _HUGE).any():
        _log.warning(
            "channel(s) %s have numbers beyond %g, which may stand for missing data; replace "
            "them, such as by the mean: %s",
            *(_numbers(huge), _HUGE, source),
        )
    return np.where(constant, 1.0, std)


def _numbers(channels: NDArray[np.bool_]) -> str:
    """Those of channels, from 1 as reports count them."""
    return listed(str(1 + place) for place in np.flatnonzero(channels).tolist())

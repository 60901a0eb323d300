"""Labelled images in memory, divided into parts without copies of each other."""

import logging

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asvit.data import load_images
from asvit.data.base import Progress
from asvit.data.copies import distinct, without_copies
from asvit.data.sources import Images
from asvit.data.statistics import standardised
from asvit.training.short_settings import ShortTrainingSettings
from proxies.text import shown

logger = logging.getLogger(__name__)

LabelledTensors = tuple[Tensor, Tensor]  # images [n, C, H, W] and labels [n] int64


def load_all(
    settings: ShortTrainingSettings, held_out: tuple[int, ...], progress: Progress | None = None
) -> Images:
    """The images to train on, and so many others for other parts."""
    return load_images(
        settings.images,
        count=settings.train_images + sum(held_out),
        image_size=settings.image_size,
        seed=settings.seed,
        fit=settings.fit,
        ground=settings.ground,
        progress=progress,
    )


def warn_of_copies(images: Images, sizes: tuple[int, ...]) -> None:
    """Say how many images :func:`split_apart` leaves out."""
    if copies := len(images.labels) - sum(map(len, split_apart(images, sizes))):
        logger.warning(
            "%d of %d images are equal to one to test or validate on, and are left out: %s",
            *(copies, len(images.labels), images.source),
        )


def split_images(images: Images, sizes: tuple[int, ...]) -> list[LabelledTensors]:
    """Parts of images as :func:`split_apart` makes them; the last one is to train on."""
    labels = images.labels.numpy()
    if len(np.unique(labels)) < 2:
        raise ValueError(f"training needs images of two classes or more; {images.source} has one")
    parts = split_apart(images, sizes)
    if not all(map(len, parts[:-1])):
        raise ValueError(
            f"no image is left to test or validate on: each of {images.source} is equal to one of "
            "another class; check the classes"
        )
    missing = np.setdiff1d(labels, labels[parts[-1]])
    if len(missing):
        raise ValueError(
            f"class {shown(images.classes[missing[0]])} has no image to train on "
            f"({len(parts[-1])} of {len(labels)} images of {images.source} are); use more "
            "training images"
        )
    pixels = images.pixels
    if images.own_statistics:  # which are to be those of the images to train on
        pixels = standardised(pixels, pixels[torch.from_numpy(parts[-1])], images.source)
    return [(pixels[part], images.labels[part]) for part in map(torch.from_numpy, parts)]


def split_apart(images: Images, sizes: tuple[int, ...]) -> list[NDArray[np.int64]]:
    """As :func:`split`, with no two equal images in different parts.

    Held-out images are distinct, their copies are in no part, and equal images with several labels
    are only trained on. Where there are any, parts are smaller, by the share that is distinct.
    """
    labels, groups = images.labels.numpy(), images.groups
    candidates = distinct(labels, groups)
    smaller = [-(-size * len(candidates) // len(labels)) for size in sizes]
    *others, _ = split(labels[candidates], tuple(smaller))
    held = [candidates[part] for part in others]
    return [*held, without_copies(groups, np.concatenate(held))]


def split(labels: NDArray[np.int64], sizes: tuple[int, ...]) -> list[NDArray[np.int64]]:
    """Stratified split of ``[n]`` labels: all parts have about the same share of every class.

    The last part takes what the sizes of the others leave. Indices of each part ascend.
    """
    order = np.argsort(labels, kind="stable")
    _, counts = np.unique(labels, return_counts=True)
    # position of each item within its class, in (0, 1)
    position = np.concatenate([np.empty(0), *((np.arange(n) + 0.5) / n for n in counts)])
    spread = order[np.argsort(position, kind="stable")]
    return [np.sort(part) for part in np.split(spread, np.cumsum(sizes))]

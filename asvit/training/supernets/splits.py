"""Training, validation and test images of a supernet."""

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from asvit.data import load_images
from asvit.data.base import Progress, balanced_choice
from asvit.data.sources import Images
from asvit.data.statistics import standardised
from asvit.training.short import LabelledTensors
from asvit.training.supernets.settings import SupernetSettings
from proxies.text import shown

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Splits:
    """Disjoint images ``[n, 3, S, S]`` and labels ``[n]`` to train on, choose a path by, and test.

    Their provenance is their source, and their SHA-256 as ``digest``.
    """

    train: LabelledTensors
    validation: LabelledTensors
    test: LabelledTensors
    names: tuple[str, ...]  # of the classes
    provenance: Mapping[str, str]

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return len(self.names)

    def to(self, device: torch.device) -> Self:
        """Copy the images and labels to a device."""
        train, validation, test = (
            (pixels.to(device), labels.to(device))
            for pixels, labels in (self.train, self.validation, self.test)
        )
        return replace(self, train=train, validation=validation, test=test)


def load_splits(settings: SupernetSettings, *, progress: Progress | None = None) -> Splits:
    """Load and split the images of a supernet; the same settings give the same splits.

    The splits are stratified by class. ``progress`` gets the numbers of images loaded and to load.
    """
    held_out = settings.test_images, settings.validation_images
    images = load_images(
        settings.images,
        count=settings.train_images + sum(held_out),
        image_size=settings.image_size,
        seed=settings.seed,
        fit=settings.fit,
        ground=settings.ground,
        progress=progress,
    )
    if images.own_statistics:
        raise ValueError(
            f"supernets are trained on 8-bit RGB pictures, and {images.source} has "
            f"{images.channels} channel(s) of its own; use asvit search"
        )
    warn_of_copies(images, held_out)
    test, validation, train = split_images(images, held_out)
    provenance = {"source": images.source, "digest": images.digest}
    return Splits(train, validation, test, images.classes, provenance)


def places_to_train_on(settings: SupernetSettings, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Places of the images that :func:`load_splits` trains on, in a whole set of these labels."""
    held_out = settings.test_images, settings.validation_images
    places = balanced_choice(labels, settings.train_images + sum(held_out), settings.seed)
    return places[split(labels[places], held_out)[-1]]


def warn_of_copies(images: Images, sizes: tuple[int, ...]) -> None:
    """Say how many of the images that :func:`split` holds out are equal to one to train on."""
    rows = images.pixels.flatten(1).numpy()
    digests = [hashlib.blake2b(row.data).digest() for row in rows]
    *others, train = split(images.labels.numpy(), sizes)
    known = {digests[place] for place in train}
    held_out = np.concatenate(others)
    if copies := sum(digests[place] in known for place in held_out):
        logger.warning(
            "%d of %d images to test and validate on are equal to one to train on, so accuracies "
            "are too high; remove copies from %s",
            *(copies, len(held_out), images.source),
        )


def split_images(images: Images, sizes: tuple[int, ...]) -> list[LabelledTensors]:
    """Parts of images as :func:`split` makes them; the last one is to train on."""
    labels = images.labels.numpy()
    if len(np.unique(labels)) < 2:
        raise ValueError(f"training needs images of two classes or more; {images.source} has one")
    parts = split(labels, sizes)
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


def split(labels: NDArray[np.int64], sizes: tuple[int, ...]) -> list[NDArray[np.int64]]:
    """Stratified split of ``[n]`` labels: all parts have about the same share of every class.

    The last part takes what the sizes of the others leave. Indices of each part ascend.
    """
    order = np.argsort(labels, kind="stable")
    _, counts = np.unique(labels, return_counts=True)
    # position of each item within its class, in (0, 1)
    position = np.concatenate([(np.arange(n) + 0.5) / n for n in counts])
    spread = order[np.argsort(position, kind="stable")]
    return [np.sort(part) for part in np.split(spread, np.cumsum(sizes))]

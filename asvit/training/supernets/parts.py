"""Images in three parts: to train on, to choose by, and to test on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from asvit.data import load_images
from asvit.data.base import Progress
from asvit.training.short import Labelled
from asvit.training.supernets.settings import SupernetSettings


@dataclass(frozen=True)
class Parts:
    """Images that a supernet is trained on, that a path is chosen by, and that neither sees.

    Attributes:
        train: Images ``[n, 3, S, S]`` and labels ``[n]`` int64 to train on.
        validation: The same of those set apart from the training images.
        test: The same of those to test on.
        classes: How many classes there are.
        provenance: Where the images came from (``source``) and what they are (``digest``).
    """

    train: Labelled
    validation: Labelled
    test: Labelled
    classes: int
    provenance: Mapping[str, str]

    def to(self, device: torch.device) -> Parts:
        """The same on a device."""
        train, validation, test = (
            (pixels.to(device), labels.to(device))
            for pixels, labels in (self.train, self.validation, self.test)
        )
        return Parts(train, validation, test, self.classes, self.provenance)


def load_parts(settings: SupernetSettings, *, progress: Progress | None = None) -> Parts:
    """Load the images of a supernet: the same ones for the same settings.

    Every part has the same share of every class, as far as it goes.

    Args:
        settings: Settings of the supernet.
        progress: Called with how many images are ready, and how many there will be.

    Raises:
        ValueError: If there are too few images, one cannot be read, or a class has none to train
            on.
        OSError: If the images cannot be found.
    """
    held_out = settings.test_images, settings.validation_images
    images = load_images(
        settings.images,
        count=settings.train_images + sum(held_out),
        image_size=settings.image_size,
        seed=settings.seed,
        progress=progress,
    )
    labels = images.labels.numpy()
    if len(np.unique(labels)) < 2:
        raise ValueError(f"training needs images of two classes or more; {images.source} has one")
    test, validation, train = split(labels, held_out)
    missing = np.setdiff1d(labels, labels[train])
    if len(missing):
        raise ValueError(
            f"class {missing[0]} has no image to train on ({len(train)} of {len(labels)} images "
            f"of {images.source} are); use more training images"
        )
    parts = [
        (images.pixels[torch.from_numpy(part)], images.labels[torch.from_numpy(part)])
        for part in (train, validation, test)
    ]
    provenance = {"source": images.source, "digest": images.digest}
    return Parts(parts[0], parts[1], parts[2], len(images.classes), provenance)


def split(labels: NDArray[np.int64], sizes: tuple[int, ...]) -> list[NDArray[np.int64]]:
    """Divide items into parts that hold the same share of every class as far as it goes.

    Args:
        labels: Label of each item, ``[n]``.
        sizes: Sizes of the parts but the last, which takes the rest.

    Returns:
        Indices of each part, ascending.
    """
    order = np.argsort(labels, kind="stable")
    _, counts = np.unique(labels, return_counts=True)
    along = np.concatenate([(np.arange(n) + 0.5) / n for n in counts])  # the place in its class
    spread = order[np.argsort(along, kind="stable")]
    return [np.sort(part) for part in np.split(spread, np.cumsum(sizes))]

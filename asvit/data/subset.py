"""Some of the images of a set, and how a set is divided in two."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from asvit.data.base import LabelledImages


class SubsetImages(LabelledImages):
    """Some images of a set, in an order of their own; the classes stay those of the whole set.

    Args:
        whole: The set.
        chosen: Numbers of the images in ``whole``, ``[n]``.
        what: What they are, in words, after the source of the whole.
    """

    def __init__(self, whole: LabelledImages, chosen: NDArray[np.int64], what: str) -> None:
        source = f"{whole.source}; {len(chosen)} of them {what}"
        super().__init__(source, whole.classes, whole.labels[chosen])
        self._whole = whole
        self._chosen = chosen

    def picture(self, index: int) -> Image.Image:
        """Return image ``index`` of the subset.

        Raises:
            ValueError: If it cannot be read.
        """
        return self._whole.picture(int(self._chosen[index]))

    def name(self, index: int) -> str:
        """Return what image ``index`` of the subset is called in the whole."""
        return self._whole.name(int(self._chosen[index]))


def divide(
    labels: NDArray[np.int64], held_out: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Hold out the same share of every class, at random.

    Of a class of n images ``held_out * n`` are held out, rounded, but at least one, and at least
    one stays.

    Args:
        labels: Label of each image, ``[n]``; each that occurs must occur twice or more.
        held_out: Share to hold out, above 0 and below 1.
        seed: Which division.

    Returns:
        Indices of those that stay and of those held out, ascending.
    """
    shuffled = np.random.default_rng(np.random.SeedSequence(seed)).permutation(len(labels))
    order = shuffled[np.argsort(labels[shuffled], kind="stable")]  # by class, shuffled within
    _, sizes = np.unique(labels, return_counts=True)
    wanted = np.clip(np.floor(held_out * sizes + 0.5).astype(np.int64), 1, sizes - 1)
    place = np.concatenate([np.arange(size) for size in sizes])
    held = place < np.repeat(wanted, sizes)
    return np.sort(order[~held]), np.sort(order[held])

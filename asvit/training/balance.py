"""Uneven classes: their weights in a loss, and orders that take equally many images of each."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def imbalance(sizes: ArrayLike) -> float:
    """Images of the largest class over those of the smallest that has any, by those of each.

    1 without images.
    """
    some = [size for size in np.asarray(sizes).tolist() if size]
    return max(some) / min(some) if some else 1.0


def balanced_order(
    labels: ArrayLike, count: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Shuffled indices of images, equally many of each class as far as possible.

    An image of a class comes again once all of its class have come.

    Returns:
        Indices, and how often each came before, ``[count]`` each.
    """
    of_each = np.asarray(labels)
    labels, sizes = np.unique(of_each, return_counts=True)
    groups = np.split(np.argsort(of_each, kind="stable"), np.cumsum(sizes)[:-1])
    own_of = dict(zip(labels.tolist(), groups, strict=True))
    classes = rng.permutation(labels)  # the first get what is left of a division
    share, rest = divmod(count, len(classes))
    indices, times = list[NDArray[np.int64]](), list[NDArray[np.int64]]()
    for place, label in enumerate(classes.tolist()):
        own, size = own_of[label], share + (place < rest)
        rounds = (rng.permutation(own) for _ in range(-(-size // len(own))))
        indices.append(np.concatenate([own[:0], *rounds])[:size])
        times.append(np.arange(size) // len(own))
    order = rng.permutation(count)
    return np.concatenate(indices)[order], np.concatenate(times)[order]

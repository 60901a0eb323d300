"""Mixup and CutMix of a batch that may be spread over several processes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from asvit.training.images.augmentation import Augmentation
from asvit.training.images.streams import kept_random_state, seed_all


def share(batch_size: int, rank: int, world: int) -> NDArray[np.int64]:
    """Places in the global batch that a process takes: some from the front, as many from the end.

    timm mixes image i of a batch with image i from its end. With such shares the same images meet
    in every number of processes.

    Args:
        batch_size: Images of the global batch, a multiple of ``world``.
        rank: Number of the process, from 0.
        world: How many processes there are.

    Returns:
        Ascending, ``[batch_size / world]``.
    """
    own = batch_size // world
    front, back = own // 2, own - own // 2
    end = batch_size - rank * back
    return np.concatenate(
        [np.arange(rank * front, (rank + 1) * front), np.arange(end - back, end)]
    )


class Mixing:
    """Mixes each image of a batch with its mirror image in the order of the batch.

    Args:
        augmentation: What to mix by, and how much.
        classes: How many classes there are.
        label_smoothing: Share of each target that is spread over all classes.
    """

    def __init__(
        self, augmentation: Augmentation, *, classes: int, label_smoothing: float
    ) -> None:
        from timm.data import Mixup

        self._mixup = Mixup(
            mixup_alpha=augmentation.mixup,
            cutmix_alpha=augmentation.cutmix,
            switch_prob=augmentation.switch,
            mode="batch",
            label_smoothing=label_smoothing,
            num_classes=classes,
        )

    def __call__(self, images: Tensor, labels: Tensor, *, seed: int) -> tuple[Tensor, Tensor]:
        """Mix a batch.

        Args:
            images: ``[b, 3, S, S]``, b even; mixed in place.
            labels: ``[b]`` int64.
            seed: How to mix; equal in all processes that share a batch.

        Returns:
            The images, and soft targets ``[b, classes]`` that sum to 1.
        """
        with kept_random_state():
            seed_all(seed)
            mixed, targets = self._mixup(images, labels)
        return mixed, targets

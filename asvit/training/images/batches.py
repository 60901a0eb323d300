"""Batches of pictures: read, augmented and mixed in a data worker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from asvit.data.base import LabelledImages
from asvit.training.images.augmentation import Augmentation, PictureTransform, Statistics
from asvit.training.images.sampling import (
    BatchPlan,
    derive_seed,
    preserved_random_state,
    seed_all,
)

BadImages = Literal["stop", "replace"]

_IMAGE, _MIX = 1, 2  # first keys of the seeds; sampling.py uses 0


class Batch(NamedTuple):
    """A batch, or why there is none: data workers cannot raise errors in the main process.

    Attributes:
        images: ``[b, 3, S, S]``.
        targets: ``[b]`` or ``[b, classes]``.
        bad: Name of every image that was replaced, and the reason; may repeat.
        failure: Why there is no batch; None after a success.
    """

    images: Tensor
    targets: Tensor
    bad: tuple[tuple[str, str], ...] = ()
    failure: str | None = None


class ImageBatches(Dataset[Batch]):
    """A dataset that maps a :class:`BatchPlan` to its batch.

    Args:
        images: The images.
        transform: Maps each picture to ``[3, S, S]`` uint8.
        image_size: S, in pixels.
        mean: Subtracted from the pixels, which are in [0, 1]; red, green, blue.
        std: Divides them afterwards.
        bad: What to do with an unreadable image.
        seed: Seed of all draws.
        erase: Applied in place to each normalised image; None for nothing. It and ``transform``
            may draw from the global generators, which are seeded for each image and restored.
        mixing: Applied to each batch; None for nothing.
    """

    def __init__(
        self,
        images: LabelledImages,
        transform: PictureTransform,
        *,
        image_size: int,
        mean: Statistics,
        std: Statistics,
        bad: BadImages,
        seed: int = 0,
        erase: Callable[[Tensor], Tensor] | None = None,
        mixing: Mixing | None = None,
    ) -> None:
        self._images = images
        self._transform = transform
        self._erase = erase
        self._shape = (3, image_size, image_size)
        self._mean = 255 * torch.tensor(mean).view(3, 1, 1)
        self._scale = 1 / (255 * torch.tensor(std).view(3, 1, 1))
        self._seed = seed
        self._bad = bad
        self._mixing = mixing

    def __getitem__(self, plan: BatchPlan) -> Batch:
        bad: list[tuple[int, str]] = []
        images = torch.empty(len(plan.indices), *self._shape)
        labels = torch.empty(len(plan.indices), dtype=torch.int64)
        with preserved_random_state():
            for place, (index, copy) in enumerate(zip(plan.indices, plan.copies, strict=True)):
                try:
                    picture, labels[place] = self._read(int(index), bad)
                except _UnreadableError as error:
                    return Batch(torch.empty(0), torch.empty(0), failure=str(error))
                seed_all(derive_seed(_IMAGE, self._seed, plan.epoch, int(index), int(copy)))
                image = images[place].copy_(self._transform(picture))
                image.sub_(self._mean).mul_(self._scale)  # per image, while it is in the cache
                if self._erase is not None:
                    self._erase(image)
        targets = labels
        if self._mixing is not None:
            seed = derive_seed(_MIX, self._seed, plan.epoch, plan.number)
            images, targets = self._mixing(images, labels, seed=seed)
        names = tuple((self._images.name(index), why) for index, why in bad)
        return Batch(images, targets, names)

    def _read(self, index: int, bad: list[tuple[int, str]]) -> tuple[Image.Image, int]:
        """Read an image; if bad images are replaced, read the next one that is readable.

        Args:
            index: Index of the image.
            bad: Collects the index of each unreadable image, with the reason.
        """
        count = len(self._images)
        for candidate in (place % count for place in range(index, index + count)):
            try:
                return self._images.picture(candidate), int(self._images.labels[candidate])
            except ValueError as error:
                if self._bad == "stop":
                    raise _UnreadableError(str(error)) from error
                bad.append((candidate, str(error)))
        raise _UnreadableError(f"none of the images can be read: {self._images.source}")


class Mixing:
    """Mixup and CutMix: mixes image i of a batch with image i from its end.

    Args:
        augmentation: Strengths of mixup and CutMix.
        classes: Number of classes.
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
            seed: Seed of the mixture; equal in all processes that share a batch.

        Returns:
            The images, and soft targets ``[b, classes]`` that sum to 1.
        """
        with preserved_random_state():
            seed_all(seed)
            mixed, targets = self._mixup(images, labels)
        return mixed, targets


class _UnreadableError(Exception):
    """An unreadable image that is not replaced."""

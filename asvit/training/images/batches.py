"""A batch of pictures, read, varied and mixed: what a worker makes of a step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from asvit.data.base import LabelledImages
from asvit.training.images.augmentation import PictureTransform, Statistics
from asvit.training.images.mixing import Mixing
from asvit.training.images.order import Step
from asvit.training.images.streams import kept_random_state, seed_all, stream

BadImages = Literal["stop", "replace"]

_IMAGE, _MIX = 1, 2  # first keys of the random streams


class Batch(NamedTuple):
    """A batch, or why there is none: errors of workers reach the main process as words.

    Attributes:
        images: ``[b, 3, S, S]``.
        targets: ``[b]`` or ``[b, classes]``.
        bad: Name of each image that was replaced, each time, and why.
        failure: Why there is no batch; None if there is.
    """

    images: Tensor
    targets: Tensor
    bad: tuple[tuple[str, str], ...] = ()
    failure: str | None = None


class ImageBatches(Dataset[Batch]):
    """Batches by step.

    Args:
        images: The images.
        transform: Applied to each picture; gives ``[3, S, S]`` uint8.
        image_size: That S.
        mean: Taken off the pixels, which are in [0, 1]; red, green, blue.
        std: What they are then divided by.
        bad: What an image that cannot be read does.
        seed: Seed of what is drawn.
        erase: Applied to each image once normalised, in place; None for nothing. It and
            ``transform`` may draw from the global random generators, which are seeded for each
            image and put back.
        mixing: Applied to each batch; None for none.
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

    def __getitem__(self, step: Step) -> Batch:
        bad: list[tuple[int, str]] = []
        images = torch.empty(len(step.indices), *self._shape)
        labels = torch.empty(len(step.indices), dtype=torch.int64)
        with kept_random_state():
            for place, (index, copy) in enumerate(zip(step.indices, step.copies, strict=True)):
                try:
                    picture, labels[place] = self._read(int(index), bad)
                except _UnreadableError as error:
                    return Batch(torch.empty(0), torch.empty(0), failure=str(error))
                seed_all(stream(_IMAGE, self._seed, step.epoch, int(index), int(copy)))
                image = images[place].copy_(self._transform(picture))
                image.sub_(self._mean).mul_(self._scale)  # one by one, while it is in the cache
                if self._erase is not None:
                    self._erase(image)
        targets = labels
        if self._mixing is not None:
            seed = stream(_MIX, self._seed, step.epoch, step.number)
            images, targets = self._mixing(images, labels, seed=seed)
        names = tuple((self._images.name(index), why) for index, why in bad)
        return Batch(images, targets, names)

    def _read(self, index: int, bad: list[tuple[int, str]]) -> tuple[Image.Image, int]:
        """Read an image or, if bad ones are replaced, the first after it that can be read.

        Args:
            index: Which image.
            bad: Takes the number of each image that could not be read, with the reason.
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


class _UnreadableError(Exception):
    """An image that is not to be replaced, or that cannot be."""

"""Data loaders whose batches depend only on the seed and the epoch, not on worker processes.

Data workers read, augment and mix whole batches.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from asvit.data.base import LabelledImages
from asvit.training.images.augmentation import (
    Augmentation,
    BatchTransform,
    PictureTransform,
    Statistics,
)
from asvit.training.images.sampling import (
    BatchPlan,
    TrainingSampler,
    ValidationSampler,
    derive_seed,
    preserved_random_state,
    seed_all,
)

_log = logging.getLogger(__name__)

BadImages = Literal["stop", "replace"]

_IMAGE, _MIX = 1, 2  # first keys of the seeds; sampling.py uses 0


class _Batch(NamedTuple):
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


@dataclass(eq=False)
class _ImageBatches(Dataset[_Batch]):
    """The batch of each :class:`BatchPlan`: the arguments are those of :func:`train_loader`.

    ``transform`` maps a picture to ``[3, S, S]`` uint8, ``erase`` changes a normalised image in
    place, and ``mixing`` takes the whole batch. All may draw from the global generators, which are
    seeded for each of them and restored.
    """

    images: LabelledImages
    transform: PictureTransform
    image_size: int
    mean: Statistics
    std: Statistics
    bad: BadImages
    seed: int = 0
    erase: Callable[[Tensor], Tensor] | None = None
    mixing: BatchTransform | None = None

    def __getitem__(self, plan: BatchPlan) -> _Batch:
        bad: list[tuple[int, str]] = []
        images = torch.empty(len(plan.indices), 3, self.image_size, self.image_size)
        labels = torch.empty(len(plan.indices), dtype=torch.int64)
        mean = 255 * torch.tensor(self.mean).view(3, 1, 1)
        scale = 1 / (255 * torch.tensor(self.std).view(3, 1, 1))
        with preserved_random_state():
            for place, (index, copy) in enumerate(zip(plan.indices, plan.copies, strict=True)):
                try:
                    picture, labels[place] = self._read(int(index), bad)
                except ValueError as error:
                    return _Batch(torch.empty(0), torch.empty(0), failure=str(error))
                seed_all(derive_seed(_IMAGE, self.seed, plan.epoch, int(index), int(copy)))
                image = images[place].copy_(self.transform(picture))
                image.sub_(mean).mul_(scale)  # per image, while it is in the cache
                if self.erase is not None:
                    self.erase(image)
            targets = labels
            if self.mixing is not None:
                # Equal in all processes that share the batch.
                seed_all(derive_seed(_MIX, self.seed, plan.epoch, plan.number))
                images, targets = self.mixing(images, labels)
        names = tuple((self.images.name(index), why) for index, why in bad)
        return _Batch(images, targets, names)

    def _read(self, index: int, bad: list[tuple[int, str]]) -> tuple[Image.Image, int]:
        """Read an image; if bad images are replaced, read the next one that is readable.

        Args:
            index: Index of the image.
            bad: Collects the index of each unreadable image, with the reason.

        Raises:
            ValueError: If it is unreadable and not replaced.
        """
        count = len(self.images)
        for candidate in (place % count for place in range(index, index + count)):
            try:
                return self.images.picture(candidate), int(self.images.labels[candidate])
            except ValueError as error:
                if self.bad == "stop":
                    raise
                bad.append((candidate, str(error)))
        raise ValueError(f"none of the images can be read: {self.images.source}")


class Loader:
    """The batches of one process.

    Attributes:
        bad: How often each unreadable image was replaced in this process, by name.
    """

    def __init__(
        self,
        batches: _ImageBatches,
        sampler: TrainingSampler | ValidationSampler,
        *,
        workers: int,
        pin_memory: bool,
    ) -> None:
        self.bad: Counter[str] = Counter()
        self._sampler = sampler
        self._batches: DataLoader[_Batch] = DataLoader(
            batches,
            sampler=sampler,
            batch_size=None,  # the sampler yields whole batches
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=pin_memory,
            generator=torch.Generator(),  # else it would draw from the global generator
        )

    def __len__(self) -> int:
        """Batches of an epoch."""
        return len(self._sampler)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, from 0, of the next iteration."""
        self._sampler.epoch = epoch

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Iterate over the images and targets of each batch.

        Raises:
            ValueError: If an image is unreadable and not replaced; the message names it.
        """
        for batch in self._batches:
            for name, reason in batch.bad:
                if name not in self.bad:
                    _log.warning("%s; the next image that can be read takes its place", reason)
                self.bad[name] += 1
            if batch.failure is not None:
                raise ValueError(batch.failure)
            yield batch.images, batch.targets


def train_loader(
    images: LabelledImages,
    *,
    image_size: int,
    batch_size: int,
    augmentation: Augmentation,
    seed: int,
    mean: Statistics,
    std: Statistics,
    label_smoothing: float = 0.0,
    workers: int = 0,
    rank: int = 0,
    world: int = 1,
    bad: BadImages = "stop",
    pin_memory: bool = False,
) -> Loader:
    """A loader of augmented training batches.

    The seed and the epoch determine the order; with the index of an image, its augmentation; with
    the number of a batch, its mixing. So any number of workers and processes gives the same
    batches. Images that do not fill a last batch are left out of the epoch. The global random
    generators are not changed.

    Args:
        images: Images to train on.
        image_size: Pixels per side.
        batch_size: Images of a batch over all processes; each loads ``batch_size / world``.
        augmentation: How to augment and mix.
        seed: Seed of all draws, at least 0.
        mean: Subtracted from the pixels, which are in [0, 1]; red, green, blue.
        std: Divides them afterwards.
        label_smoothing: Share of mixed targets that is spread over all classes. Labels that are
            not mixed are left to the loss.
        workers: Data worker processes, which stay from epoch to epoch; 0 loads in this process.
        rank: Rank of this process, from 0.
        world: Number of processes that share each batch.
        bad: What to do with an unreadable image: ``"stop"`` raises a ValueError that names it;
            ``"replace"`` takes the next readable one, with a warning and a count.
        pin_memory: Whether to put batches into pinned memory, for faster copies to a CUDA device.

    Returns:
        A loader of ``([b, 3, S, S] float32, targets)`` on the CPU, with targets ``[b]`` int64, or
        ``[b, classes]`` float32 if images are mixed.

    Raises:
        ValueError: If the batch size does not divide by the processes or exceeds the number of
            images, if mixing gets an odd number, or if the augmentation is unknown.
    """
    _check_numbers(batch_size, workers, rank, world, bad)
    if batch_size % world:
        raise ValueError(
            f"a batch of {batch_size} images does not go into {world} processes; use a multiple"
        )
    if batch_size > len(images):
        raise ValueError(
            f"a batch of {batch_size} images is more than there are to train on: {images.source}"
        )
    if augmentation.mixes and batch_size // world % 2:
        raise ValueError(
            f"mixup and CutMix take pairs of images, but a process has {batch_size // world} of a"
            f" batch of {batch_size}; use a multiple of {2 * world}"
        )
    batches = _ImageBatches(
        images,
        augmentation.train_transform(image_size, mean=mean),
        image_size=image_size,
        erase=augmentation.eraser(),
        mean=mean,
        std=std,
        seed=seed,
        bad=bad,
        mixing=augmentation.mixing(len(images.classes), label_smoothing),
    )
    sampler = TrainingSampler(
        len(images), batch_size, seed=seed, copies=augmentation.copies, rank=rank, world=world
    )
    return Loader(batches, sampler, workers=workers, pin_memory=pin_memory)


def validation_loader(
    images: LabelledImages,
    *,
    image_size: int,
    batch_size: int,
    augmentation: Augmentation,
    mean: Statistics,
    std: Statistics,
    workers: int = 0,
    rank: int = 0,
    world: int = 1,
    bad: BadImages = "stop",
    pin_memory: bool = False,
) -> Loader:
    """A loader of validation batches: every image once, in order.

    Images are dealt to the processes in turn. Their shares differ by at most one image, so one
    process may have a batch less than another, or none.

    Args:
        images: Images to validate on.
        image_size: Pixels per side.
        batch_size: Images of a batch over all processes; each loads its share, rounded up.
        augmentation: How to resize and crop.
        mean: As in :func:`train_loader`.
        std: The same.
        workers: The same.
        rank: The same.
        world: The same.
        bad: The same.
        pin_memory: The same.

    Returns:
        A loader of ``([b, 3, S, S] float32, [b] int64)`` on the CPU.

    Raises:
        ValueError: If a number is out of range.
    """
    _check_numbers(batch_size, workers, rank, world, bad)
    batches = _ImageBatches(
        images,
        augmentation.validation_transform(image_size),
        image_size=image_size,
        mean=mean,
        std=std,
        bad=bad,
    )
    sampler = ValidationSampler(len(images), -(-batch_size // world), rank=rank, world=world)
    return Loader(batches, sampler, workers=workers, pin_memory=pin_memory)


def _check_numbers(batch_size: int, workers: int, rank: int, world: int, bad: str) -> None:
    if batch_size < 1:
        raise ValueError(f"a batch of {batch_size} images; use 1 or more")
    if workers < 0:
        raise ValueError(f"{workers} workers; use 0 or more")
    if not 0 <= rank < world:
        raise ValueError(f"process {rank} of {world}; use 0 to {world - 1}")
    if bad not in ("stop", "replace"):
        raise ValueError(f"bad is {bad!r}; use 'stop' or 'replace'")

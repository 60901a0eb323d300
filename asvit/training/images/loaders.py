"""Data loaders whose batches depend only on the seed and the epoch, not on worker processes."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from asvit.data.base import LabelledImages
from asvit.training.images.augmentation import Augmentation, Statistics
from asvit.training.images.batches import BadImages, Batch, ImageBatches, Mixing
from asvit.training.images.sampling import TrainingSampler, ValidationSampler

_log = logging.getLogger(__name__)


class Loader:
    """The batches of one process.

    Attributes:
        bad: How often each unreadable image was replaced in this process, by name.
    """

    def __init__(
        self,
        batches: ImageBatches,
        sampler: TrainingSampler | ValidationSampler,
        *,
        workers: int,
        pin_memory: bool,
    ) -> None:
        self.bad: Counter[str] = Counter()
        self._sampler = sampler
        self._batches: DataLoader[Batch] = DataLoader(
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
    mixing = None
    if augmentation.mixes:
        classes = len(images.classes)
        mixing = Mixing(augmentation, classes=classes, label_smoothing=label_smoothing)
    batches = ImageBatches(
        images,
        augmentation.train_transform(image_size, mean=mean),
        image_size=image_size,
        erase=augmentation.eraser(),
        mean=mean,
        std=std,
        seed=seed,
        bad=bad,
        mixing=mixing,
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
    batches = ImageBatches(
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

"""Batches of images: the same for a seed and an epoch, however many processes make them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from asvit.data.base import LabelledImages
from asvit.training.images.augmentation import Augmentation, Statistics
from asvit.training.images.batches import BadImages, Batch, ImageBatches
from asvit.training.images.mixing import Mixing
from asvit.training.images.order import Shares, TrainingOrder

_log = logging.getLogger(__name__)


class Loader:
    """Batches of one process, epoch after epoch.

    Attributes:
        bad: How often each image that could not be read was replaced in this process, by name.
    """

    def __init__(
        self,
        batches: ImageBatches,
        steps: TrainingOrder | Shares,
        *,
        workers: int,
        pin_memory: bool,
    ) -> None:
        self.bad: Counter[str] = Counter()
        self._steps = steps
        self._batches: DataLoader[Batch] = DataLoader(
            batches,
            sampler=steps,
            batch_size=None,  # a step is a whole batch
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=pin_memory,
            generator=torch.Generator(),  # else it draws from the global one
        )

    def __len__(self) -> int:
        """Batches of an epoch."""
        return len(self._steps)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, from 0, that the next iteration gives."""
        self._steps.epoch = epoch

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Give the images and targets of each batch.

        Raises:
            ValueError: If an image cannot be read and is not to be replaced; the message names it.
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
    """Batches to train on.

    The order of an epoch follows from the seed and the epoch; how an image is varied, from these
    and the number of the image; how a batch is mixed, from these and the number of the batch. So
    any number of workers and processes gives the same batches. Images left over by whole batches
    wait for another epoch. The global random generators are left as they were.

    Args:
        images: Images to train on.
        image_size: Pixels per side.
        batch_size: Images of a batch over all processes; each makes ``batch_size / world``.
        augmentation: How images are varied and mixed.
        seed: Seed of all draws, at least 0.
        mean: Taken off the pixels, which are in [0, 1]; red, green, blue.
        std: What they are then divided by.
        label_smoothing: Share of mixed targets that is spread over all classes. Labels that are
            not mixed are left to the loss.
        workers: Processes that read and vary images ahead, beside this one; 0 for none. They stay
            from epoch to epoch.
        rank: Number of this process among those that share the batches, from 0.
        world: How many those are.
        bad: What an image that cannot be read does: ``"stop"`` is a ValueError that names it;
            ``"replace"`` takes the next one that can be read, with a warning and a count.
        pin_memory: Whether batches lie in memory that is copied to a CUDA device faster.

    Returns:
        Its batches are ``([b, 3, S, S] float32, targets)`` on the CPU, with targets ``[b]`` int64,
        or ``[b, classes]`` float32 where images are mixed.

    Raises:
        ValueError: If a batch cannot be shared out among the processes or has more images than
            there are, mixing is left with an odd number, or the augmentation is unknown.
    """
    _check_share(batch_size, workers, rank, world, bad)
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
    order = TrainingOrder(
        len(images), batch_size, seed=seed, copies=augmentation.copies, rank=rank, world=world
    )
    return Loader(batches, order, workers=workers, pin_memory=pin_memory)


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
    """Batches to validate with: every image once, in order, none left out.

    Processes take turns image by image, so that their shares differ by one image at most; one
    may have a batch less than another, or none.

    Args:
        images: Images to validate with.
        image_size: Pixels per side.
        batch_size: Images of a batch over all processes; a process makes its share, rounded up.
        augmentation: Says how images are resized and cropped.
        mean: As in :func:`train_loader`.
        std: As there.
        workers: As there.
        rank: As there.
        world: As there.
        bad: As there.
        pin_memory: As there.

    Returns:
        Its batches are ``([b, 3, S, S] float32, [b] int64)`` on the CPU.

    Raises:
        ValueError: If a number is out of range.
    """
    _check_share(batch_size, workers, rank, world, bad)
    batches = ImageBatches(
        images,
        augmentation.validation_transform(image_size),
        image_size=image_size,
        mean=mean,
        std=std,
        bad=bad,
    )
    shares = Shares(len(images), -(-batch_size // world), rank=rank, world=world)
    return Loader(batches, shares, workers=workers, pin_memory=pin_memory)


def _check_share(batch_size: int, workers: int, rank: int, world: int, bad: str) -> None:
    if batch_size < 1:
        raise ValueError(f"a batch of {batch_size} images; use 1 or more")
    if workers < 0:
        raise ValueError(f"{workers} workers; use 0 or more")
    if not 0 <= rank < world:
        raise ValueError(f"process {rank} of {world}; use 0 to {world - 1}")
    if bad not in ("stop", "replace"):
        raise ValueError(f"bad is {bad!r}; use 'stop' or 'replace'")

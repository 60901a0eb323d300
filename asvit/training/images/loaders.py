"""Data loaders whose batches depend only on the seed and the epoch, not on worker processes.

Data workers read, augment and mix whole batches.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from asvit.core.settings import Settings, setting
from asvit.data import MEAN, STD, LabelledImages
from asvit.training.images.augmentation import (
    Augmentation,
    BatchTransform,
    PictureTransform,
    Statistics,
)
from asvit.training.images.sampling import (
    BatchPlan,
    derive_seed,
    preserved_random_state,
    seed_all,
    training_plans,
    validation_plans,
)

_log = logging.getLogger(__name__)

_IMAGE, _MIX = 1, 2  # first keys of the seeds; sampling.py uses 0


@dataclass(frozen=True, kw_only=True)
class Batching(Settings):
    """How images become batches."""

    image_size: int = setting(..., "Pixels per side.", at_least=1)
    batch_size: int = setting(
        ..., "Images of a batch over all processes; each loads its share.", at_least=1
    )
    augmentation: Augmentation = setting(Augmentation(), "How to augment, mix, resize and crop.")
    seed: int = setting(0, "Seed of all draws.", at_least=0)
    mean: Statistics = setting(MEAN, "Subtracted from the pixels, which are in [0, 1].")
    std: Statistics = setting(STD, "Divides them afterwards.")
    label_smoothing: float = setting(
        0.0,
        "Share of mixed targets spread over all classes; other labels are left to the loss.",
        at_least=0,
        below=1,
    )
    workers: int = setting(
        0, "Processes that load, and stay from epoch to epoch; 0 for this one.", at_least=0
    )
    rank: int = setting(0, "Rank of this process.", at_least=0)
    world: int = setting(1, "Number of processes that share each batch.", at_least=1)
    bad: str = setting(
        "stop",
        "At an unreadable image, stop with an error that names it, or replace it by the next "
        "readable one, with a warning and a count.",
        choices=("stop", "replace"),
    )
    pin_memory: bool = setting(False, "Pin batches, for faster copies to a CUDA device.")

    def check(self) -> None:
        """Check the rank.

        Raises:
            ValueError: If there is no such process.
        """
        if self.rank >= self.world:
            raise ValueError(f"process {self.rank} of {self.world}; use 0 to {self.world - 1}")


class _Batch(NamedTuple):
    """A batch, or why there is none: data workers cannot raise errors in the main process."""

    images: Tensor  # [b, 3, S, S]
    targets: Tensor  # [b] or [b, classes]
    bad: tuple[tuple[str, str], ...] = ()  # name of every image that was replaced, and the reason
    failure: str | None = None  # why there is no batch


@dataclass(eq=False)
class _ImageBatches(Dataset[_Batch]):
    """The batch of each :class:`BatchPlan`.

    ``transform`` maps a picture to ``[3, S, S]`` uint8, ``erase`` changes a normalised image in
    place, and ``mixing`` takes the whole batch. All may draw from the global generators, which are
    seeded for each of them and restored.
    """

    images: LabelledImages
    batching: Batching
    transform: PictureTransform
    erase: Callable[[Tensor], Tensor] | None = None
    mixing: BatchTransform | None = None

    def __getitem__(self, plan: BatchPlan) -> _Batch:
        size, seed = self.batching.image_size, self.batching.seed
        bad: list[tuple[int, str]] = []
        images = torch.empty(len(plan.indices), 3, size, size)
        labels = torch.empty(len(plan.indices), dtype=torch.int64)
        mean = 255 * torch.tensor(self.batching.mean).view(3, 1, 1)
        scale = 1 / (255 * torch.tensor(self.batching.std).view(3, 1, 1))
        with preserved_random_state():
            for place, (index, copy) in enumerate(zip(plan.indices, plan.copies, strict=True)):
                try:
                    picture, labels[place] = self._read(int(index), bad)
                except ValueError as error:
                    return _Batch(torch.empty(0), torch.empty(0), failure=str(error))
                seed_all(derive_seed(_IMAGE, seed, plan.epoch, int(index), int(copy)))
                image = images[place].copy_(self.transform(picture))
                image.sub_(mean).mul_(scale)  # per image, while it is in the cache
                if self.erase is not None:
                    self.erase(image)
            targets = labels
            if self.mixing is not None:
                # Equal in all processes that share the batch.
                seed_all(derive_seed(_MIX, seed, plan.epoch, plan.number))
                images, targets = self.mixing(images, labels)
        names = tuple((self.images.name(index), why) for index, why in bad)
        return _Batch(images, targets, names)

    def _read(self, index: int, bad: list[tuple[int, str]]) -> tuple[Image.Image, int]:
        """Read an image; if bad images are replaced, read the next one that is readable.

        ``bad`` collects the index of each unreadable image, with the reason.

        Raises:
            ValueError: If it is unreadable and not replaced.
        """
        count = len(self.images)
        for candidate in (place % count for place in range(index, index + count)):
            try:
                return self.images.picture(candidate), int(self.images.labels[candidate])
            except ValueError as error:
                if self.batching.bad == "stop":
                    raise
                bad.append((candidate, str(error)))
        raise ValueError(f"none of the images can be read: {self.images.source}")


class Loader:
    """The batches of one process.

    Attributes:
        bad: How often each unreadable image was replaced in this process, by name.
    """

    def __init__(self, batches: _ImageBatches, plans: Callable[[int], list[BatchPlan]]) -> None:
        self.bad: Counter[str] = Counter()
        self._plans = plans
        self._epoch = plans(0)
        workers = batches.batching.workers
        self._batches: DataLoader[_Batch] = DataLoader(
            batches,
            sampler=self._epoch,
            batch_size=None,  # the sampler yields whole batches
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=batches.batching.pin_memory,
            generator=torch.Generator(),  # else it would draw from the global generator
        )

    def __len__(self) -> int:
        """Batches of an epoch."""
        return len(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, from 0, of the next iteration."""
        self._epoch[:] = self._plans(epoch)

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


def train_loader(images: LabelledImages, batching: Batching) -> Loader:
    """A loader of augmented training batches.

    The seed and the epoch determine the order; with the index of an image, its augmentation; with
    the number of a batch, its mixing. So any number of workers and processes gives the same
    batches. Images that do not fill a last batch are left out of the epoch. The global random
    generators are not changed.

    Returns:
        A loader of ``([b, 3, S, S] float32, targets)`` on the CPU, with targets ``[b]`` int64, or
        ``[b, classes]`` float32 if images are mixed; b is the batch size over the processes.

    Raises:
        ValueError: If the batch size does not divide by the processes or exceeds the number of
            images, if mixing gets an odd number, or if the augmentation is unknown.
    """
    size, world, augmentation = batching.batch_size, batching.world, batching.augmentation
    if size % world:
        raise ValueError(
            f"a batch of {size} images does not go into {world} processes; use a multiple"
        )
    if size > len(images):
        raise ValueError(
            f"a batch of {size} images is more than there are to train on: {images.source}"
        )
    if augmentation.mixes and size // world % 2:
        raise ValueError(
            f"mixup and CutMix take pairs of images, but a process has {size // world} of a"
            f" batch of {size}; use a multiple of {2 * world}"
        )
    batches = _ImageBatches(
        images,
        batching,
        augmentation.train_transform(batching.image_size, mean=batching.mean),
        erase=augmentation.eraser(),
        mixing=augmentation.mixing(len(images.classes), batching.label_smoothing),
    )
    plans = partial(
        training_plans,
        len(images),
        size,
        seed=batching.seed,
        copies=augmentation.copies,
        rank=batching.rank,
        world=world,
    )
    return Loader(batches, plans)


def validation_loader(images: LabelledImages, batching: Batching) -> Loader:
    """A loader of validation batches: every image once, in order, resized and cropped.

    Images are dealt to the processes in turn. Their shares differ by at most one image, so one
    process may have a batch less than another, or none.

    Returns:
        A loader of ``([b, 3, S, S] float32, [b] int64)`` on the CPU, with at most the batch size
        over the processes, rounded up, in a batch.
    """
    transform = batching.augmentation.validation_transform(batching.image_size)
    world = batching.world
    own = -(-batching.batch_size // world)
    plans = validation_plans(len(images), own, rank=batching.rank, world=world)
    return Loader(_ImageBatches(images, batching, transform), lambda _epoch: list(plans))

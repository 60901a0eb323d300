"""Data loaders whose batches depend only on the seed and the epoch, not on worker processes.

Data workers read, augment and mix whole batches; for a GPU they prepare parts of them, and the GPU
mixes. Seeds are derived from their purpose, never from a generator's state, so that the number of
workers and processes changes no draw.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain, islice
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from asvit.data import LabelledImages
from asvit.data.kinds import ImageKind
from asvit.training.images.augmentation import BatchTransform
from asvit.training.images.batches import Batch, Batching, ImageBatches
from asvit.training.images.finishing import Finish, ahead
from asvit.training.images.order import BatchPlan, Indices, training_plans

PATIENCE = 300  # seconds to wait for a batch before its workers count as lost

_log = logging.getLogger(__name__)


class Loader:
    """The batches of one process; the RuntimeError of a lost worker names the DataLoader."""

    def __init__(
        self,
        batches: Dataset[Batch],
        batching: Batching,
        plans: Callable[[int], list[BatchPlan]],
        finish: Finish | None = None,
    ) -> None:
        #: How often each unreadable image was replaced in this process, by name.
        self.bad: Counter[str] = Counter()
        self._plans, self._finish = plans, finish
        self._epoch, self._start = plans(0), 0
        self._left: list[BatchPlan] = []  # what the workers prepare: batches, or parts of them
        workers, device = batching.workers, batching.device
        self._batches: DataLoader[Batch] = DataLoader(
            batches,
            sampler=self._left,
            batch_size=None,  # the sampler yields whole batches
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=device is not None and device.type == "cuda",  # copies are faster then
            timeout=PATIENCE if workers else 0,
            generator=torch.Generator(),  # else it would draw from the global generator
        )

    def __len__(self) -> int:
        """Batches of an epoch."""
        return len(self._epoch)

    def set_epoch(self, epoch: int, *, start: int = 0) -> None:
        """Set the epoch, from 0, of the next iteration, and the batch that it starts at."""
        self._epoch, self._start = self._plans(epoch), start

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        """Iterate over the images and targets of each batch."""
        if self._finish is None:
            return ((batch.images, batch.targets) for _, (batch,) in self.prepared())
        finished = (self._finish(parts, *plan[:2]) for plan, parts in self.prepared())
        return ahead(finished, self._finish.stream)

    def prepared(self) -> Iterator[tuple[BatchPlan, list[Batch]]]:
        """Iterate over the plan of each batch, and the parts that workers have prepared."""
        split = self._finish is not None and self._batches.num_workers > 0
        left = [(plan, plan.parts if split else [plan]) for plan in self._epoch[self._start :]]
        self._left[:] = chain.from_iterable(parts for _, parts in left)
        received = iter(self._batches)
        for plan, expected in left:
            parts = list(islice(received, len(expected)))
            for part in parts:
                self._check(part)
            yield plan, parts

    def _check(self, part: Batch) -> None:
        """Count images that were replaced, and raise why there is no batch."""
        for name, reason in part.bad:
            if name not in self.bad:
                _log.warning("%s; the next image that can be read takes its place", reason)
            self.bad[name] += 1
        if part.failure is not None:
            raise ValueError(part.failure)

    def close(self) -> None:
        """End the workers. Another iteration would start new ones."""
        iterator: Any = self._batches._iterator
        if iterator is not None:
            iterator._shutdown_workers()
            self._batches._iterator = None


def train_loader(images: LabelledImages, batching: Batching) -> Loader:
    """A loader of augmented training batches.

    The seed and the epoch determine the order; with the index of an image, its augmentation; with
    the number of a batch, its mixing. So any number of workers and processes gives the same
    batches. Images that do not fill a last batch are left out of the epoch. The global random
    generators are not changed.

    Returns:
        A loader of ``([b, C, S, S] float32, targets)``, on the CPU or the device, with targets
        ``[b]`` int64, or ``[b, classes]`` float32 if images are mixed; b is the batch size over
        the processes.
    """
    size, world, augmentation = batching.batch_size, batching.world, batching.augmentation
    kind = images.kind
    mixing = augmentation.mixing(len(images.classes), batching.label_smoothing)
    finish = _finish(batching, kind, mixing)
    batches = ImageBatches(
        images,
        batching,
        augmentation.train_transform(batching.image_size, mean=batching.mean, kind=kind),
        on_normalised=augmentation.on_normalised(kind),
        mixing=mixing if finish is None else None,
    )
    labels = images.labels if batching.balanced else None
    loader = shuffled_loader(
        batches, batching, len(images), images.source, labels=labels, finish=finish
    )
    if augmentation.mixes and size // world % 2:
        raise ValueError(
            f"mixup and CutMix take pairs of images, but a process has {size // world} of a"
            f" batch of {size}; use a multiple of {2 * world}"
        )
    return loader


def validation_loader(images: LabelledImages, batching: Batching) -> Loader:
    """A loader of validation batches: every image once, in order, resized and cropped.

    Images are dealt to the processes in turn. Their shares differ by at most one image, so one
    process may have a batch less than another, or none.

    A batch is ``([b, C, S, S] float32, [b] int64)``, on the CPU or the device; b is at most the
    batch size over the processes, rounded up.
    """
    transform = batching.augmentation.validation_transform(
        batching.image_size, kind=images.kind, mean=batching.mean
    )
    batches = ImageBatches(images, batching, transform)
    return ordered_loader(batches, batching, len(images), finish=_finish(batching, images.kind))


def ordered_loader(
    batches: Dataset[Batch], batching: Batching, images: int, *, finish: Finish | None = None
) -> Loader:
    """A loader of the batches of so many images, each once and in order.

    They are dealt to the processes as by :func:`validation_loader`.
    """
    own = np.arange(batching.rank, images, batching.world)
    size = -(-batching.batch_size // batching.world)
    parts = (own[begin : begin + size] for begin in range(0, len(own), size))
    plans = [BatchPlan(0, number, part, np.zeros_like(part)) for number, part in enumerate(parts)]
    return Loader(batches, batching, lambda _epoch: list(plans), finish)


def _finish(
    batching: Batching, kind: ImageKind, mixing: BatchTransform | None = None
) -> Finish | None:
    """What a device has to do, if there is one."""
    if batching.device is None:
        return None
    shift, scale = batching.shift_and_scale(kind)
    return Finish(
        device=batching.device, seed=batching.seed, shift=shift, scale=scale, mixing=mixing
    )


def shuffled_loader(
    batches: Dataset[Batch],
    batching: Batching,
    images: int,
    source: str,
    *,
    labels: Indices | None = None,
    finish: Finish | None = None,
) -> Loader:
    """A loader of the batches of so many shuffled images, which ``source`` describes.

    With their ``labels``, an epoch has equally many of each class.
    """
    size, world = batching.batch_size, batching.world
    if size % world:
        raise ValueError(
            f"a batch of {size} images does not go into {world} processes; use a multiple"
        )
    if size > images:
        raise ValueError(
            f"a batch of {size} images is more than there are to train on: {source}; use "
            f"--batch-size {images} or less"
        )
    plans = partial(
        training_plans,
        images,
        size,
        seed=batching.seed,
        copies=batching.augmentation.copies,
        rank=batching.rank,
        world=world,
        labels=labels,
    )
    return Loader(batches, batching, plans, finish)

"""Batches of sets in memory, augmented as a whole, on the device that trains."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, partial
from itertools import repeat

import numpy as np
import torch
from torch import Tensor

from asvit.data import LabelledImages
from asvit.data.pixels import Pixels
from asvit.training.device_queue import Draws, drawn_ahead
from asvit.training.images.augmentation import Augmentation, BatchTransform
from asvit.training.images.batched import augmented, draw_batch
from asvit.training.images.batches import Batching
from asvit.training.images.order import BatchPlan, Indices, batch_share
from asvit.training.images.seeds import IMAGE, MIX, derive_seed, preserved_random_state, seed_all

_log = logging.getLogger(__name__)


class MemoryLoader:
    """The batches of one process, from images in memory.

    Args:
        images: Whose labels and names count.
        decode: Decodes these images, once they are needed.
        batching: How they become batches.
        plans: The batches of an epoch.
        augmentation: Of images to train on; None leaves them as they are.
        mixing: Of whole batches.
    """

    def __init__(
        self,
        images: LabelledImages,
        decode: Callable[[], Pixels],
        batching: Batching,
        plans: Callable[[int], list[BatchPlan]],
        *,
        augmentation: Augmentation | None = None,
        mixing: BatchTransform | None = None,
    ) -> None:
        #: How often each unreadable image was replaced in this process, by name.
        self.bad: Counter[str] = Counter()
        self._images, self._decode, self._batching = images, decode, batching
        self._plans, self._augmentation, self._mixing = plans, augmentation, mixing
        self._epoch, self._start = plans(0), 0

    @cached_property
    def _pixels(self) -> Pixels:
        return self._decode()

    @cached_property
    def _readable(self) -> Indices:
        """The image in place of each one: itself, or the next one that can be read."""
        places, bad = np.arange(len(self._images)), self._pixels.bad
        if not bad:
            return places
        if not self._batching.replace_bad:
            raise ValueError(
                f"{next(iter(bad.values()))}; repair or remove it, or give --bad-images replace"
            )
        readable = np.setdiff1d(places, list(bad))
        if not len(readable):
            raise ValueError(f"none of the images can be read: {self._images.source}")
        after = np.searchsorted(readable, places) % len(readable)
        return readable[after]

    def __len__(self) -> int:
        """Batches of an epoch."""
        return len(self._epoch)

    def set_epoch(self, epoch: int, *, start: int = 0) -> None:
        """Set the epoch, from 0, of the next iteration, and the batch that it starts at."""
        self._epoch, self._start = self._plans(epoch), start

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Iterate over the images and targets of each batch, on the device."""
        plans = self._epoch[self._start :]
        draws: Iterable[Draws]
        if self._augmentation is None:
            draws = repeat({})
        else:
            draw = partial(self._draw, self._augmentation, plans)
            draws = drawn_ahead(draw, range(len(plans)), self._device)
        for plan, drawn in zip(plans, draws, strict=False):
            self._count_bad(plan)
            yield self._batch(plan, drawn)

    def _draw(self, augmentation: Augmentation, plans: Sequence[BatchPlan], number: int) -> Draws:
        """Draws for the own share of a batch, from those for all processes."""
        b, plan = self._batching, plans[number]
        seed = derive_seed(IMAGE, b.seed, plan.epoch, plan.number)
        generator = torch.Generator().manual_seed(seed)
        shape = self._pixels.values.shape[1:]
        whole = draw_batch(b.batch_size, shape, augmentation, generator)
        own = torch.from_numpy(batch_share(b.batch_size, b.rank, b.world))
        return {name: values[own] for name, values in whole.items()}

    def _count_bad(self, plan: BatchPlan) -> None:
        if not self._pixels.bad:
            return
        for index in plan.indices.tolist():
            if (reason := self._pixels.bad.get(index)) is not None:
                name = self._images.name(index)
                if name not in self.bad:
                    _log.warning("%s; the next image that can be read takes its place", reason)
                self.bad[name] += 1

    def _batch(self, plan: BatchPlan, draws: Draws) -> tuple[Tensor, Tensor]:
        shift, scale = self._normalisation
        indices = torch.from_numpy(self._readable[plan.indices]).to(self._device)
        images = self._values[indices].float().sub_(shift).mul_(scale)
        images, targets = augmented(images, draws), self._labels[indices]
        if self._mixing is None:
            return images, targets
        with preserved_random_state():
            seed_all(derive_seed(MIX, self._batching.seed, plan.epoch, plan.number))
            return self._mixing(images, targets)

    @property
    def _device(self) -> torch.device:
        return self._batching.device or torch.device("cpu")

    @cached_property
    def _values(self) -> Tensor:
        return self._pixels.values.to(self._device)

    @cached_property
    def _labels(self) -> Tensor:
        return torch.from_numpy(np.array(self._images.labels)).to(self._device)

    @cached_property
    def _normalisation(self) -> tuple[Tensor, Tensor]:
        shift, scale = self._batching.shift_and_scale(self._images.kind)
        return shift.to(self._device), scale.to(self._device)

    def close(self) -> None:
        """Nothing to end; as of loaders with workers."""

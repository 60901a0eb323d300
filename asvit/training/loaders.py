"""Batches of images that depend only on the seed and the epoch, not on workers or processes.

Pixels come from a set in memory or from data workers, which read and augment single pictures.
What is left is done for whole batches on the device that trains: it normalises, augments and
mixes.
"""

import hashlib
import logging
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from asvit.data import LabelledImages
from asvit.data.base import Progress
from asvit.data.cache import decode, fit_in_memory
from asvit.data.kinds import MEAN, STD, ImageKind, Statistics
from asvit.data.preparation import PictureTransform
from asvit.training.augmentation import Augmentation, BatchTransform
from asvit.training.balance import balanced_order
from asvit.training.batched import Draws, augmented, draw_batch, drawn_ahead
from proxies.messages import first_line

Indices = NDArray[np.int64]

PATIENCE = 300  # seconds to wait for a batch before its workers count as lost

_ORDER, _IMAGE, _MIX = 0, 1, 2  # first keys of the seeds of a training
ADVICE = ", or begin anew with --bad-images skip"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Batching:
    """How images become batches."""

    image_size: int  # pixels per side
    batch_size: int  # images of a batch over all processes; each loads its share
    augmentation: Augmentation = field(default_factory=Augmentation)
    seed: int = 0  # of all draws
    mean: Statistics = MEAN  # subtracted from pixels that the scale of their kind divides
    std: Statistics = STD  # divides them afterwards
    balanced: bool = False  # whether an epoch has equally many images of each class
    label_smoothing: float = 0.0  # of mixed targets; that of other labels is left to the loss
    workers: int = 0  # processes that load, and stay from epoch to epoch; 0 for this one
    rank: int = 0  # of this process
    world: int = 1  # processes that share each batch
    device: torch.device = field(default_factory=partial(torch.device, "cpu"))  # of the batches


class BatchPlan(NamedTuple):
    """The content of a batch: all that a data worker needs."""

    epoch: int  # from 0
    number: int  # of the batch in its epoch, from 0
    indices: Indices  # of the images, [b]
    copies: Indices  # number of the copy of each image, [b]


class Batch(NamedTuple):
    """A batch before it is finished, or why there is none: errors of workers lose their type."""

    images: Any  # pixels [b, C, S, S], uint8 or float32; of other sizes a list
    targets: Any  # [b] int64, or a list of annotations
    failure: str | None = None  # why there is no batch


class Batches(Protocol):
    """The batch of each plan."""

    def __getitem__(self, plan: BatchPlan) -> Batch: ...


# What makes the images and targets of a training from the pixels of planned batches.
Finish = Callable[[Sequence[BatchPlan], Iterable[Batch]], Iterator[tuple[Any, Any]]]
Plans = Callable[[int], list[BatchPlan]]  # those of an epoch


class Loader:
    """The batches of one process, by epoch and position in it."""

    def __init__(
        self,
        batches: Batches,
        plans: Plans,
        *,
        workers: int = 0,
        pinned: bool = False,
        finish: Finish | None = None,
    ) -> None:
        self._batches, self._plans, self._finish = batches, plans, finish
        self._epoch, self._start = plans(0), 0
        self._left: list[BatchPlan] = []  # what the workers prepare
        self._workers: Any = None
        if workers:
            dataset: Any = batches
            self._workers = DataLoader(
                dataset,
                sampler=self._left,
                batch_size=None,  # the sampler yields whole batches
                num_workers=workers,
                persistent_workers=True,
                pin_memory=pinned,
                timeout=PATIENCE,
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
        if self._finish is not None:
            return self._finish(self._epoch[self._start :], self.prepared())
        return ((batch.images, batch.targets) for batch in self.prepared())

    def prepared(self) -> Iterator[Batch]:
        """Iterate over the batches before they are finished."""
        self._left[:] = plans = self._epoch[self._start :]
        try:
            read = map(self._batches.__getitem__, plans)
            for batch in read if self._workers is None else self._workers:
                if batch.failure is not None:
                    raise ValueError(batch.failure)
                yield batch
        except RuntimeError as error:
            if not str(error).startswith("DataLoader"):
                raise
            raise ChildProcessError(
                f"a worker that prepares images was lost ({first_line(error)}); the same command "
                "goes on from the last checkpoint; if memory is short, with fewer --workers"
            ) from error

    def close(self) -> None:
        """End the workers. Another iteration would start new ones."""
        if self._workers is not None and self._workers._iterator is not None:
            self._workers._iterator._shutdown_workers()
            self._workers._iterator = None


def train_loader(
    images: LabelledImages, batching: Batching, *, progress: Progress | None = None
) -> Loader:
    """A loader of augmented training batches.

    Order and augmentation follow from the seed, the epoch, and the number of a batch or the index
    of an image. So any number of workers and processes gives the same batches. Images that do not
    fill a last batch are left out of the epoch.

    A set that fits is decoded into memory before the first batch, of which ``progress`` is told,
    and augmented in whole batches, unless its augmentation is one of timm's for single pictures.

    Returns:
        A loader of ``([b, C, S, S] float32, targets)`` on the device, with targets ``[b]`` int64,
        or ``[b, classes]`` float32 if images are mixed; b is the batch size over the processes.
    """
    b, how, kind = batching, batching.augmentation, images.kind
    plans = shuffled_plans(b, len(images), images.source, images.labels if b.balanced else None)
    mixing = how.mixing(len(images.classes), b.label_smoothing)
    if mixing and b.batch_size // b.world % 2:
        raise ValueError(
            f"mixup and CutMix take pairs of images, but a process has {b.batch_size // b.world} "
            f"of a batch of {b.batch_size}; use a multiple of {2 * b.world}"
        )
    whole = replace(how, crop_pct=1.0).preparation(b.image_size, kind=kind, mean=b.mean)
    if how.in_batches(kind) and fit_in_memory(images, b.image_size):
        decoded = _MemoryBatches(
            images, b, partial(decode, images, whole, progress, advice=ADVICE)
        )
        return Loader(decoded, plans, finish=_Finish(b, kind, how, mixing))
    if kind.picture:
        transform, how = how.train_transform(b.image_size, mean=b.mean), how.after_pictures()
    else:
        transform = whole.crop
    return _from_files(images, b, transform, plans, _Finish(b, kind, how, mixing))


def validation_loader(
    images: LabelledImages, batching: Batching, *, progress: Progress | None = None
) -> Loader:
    """A loader of validation batches: every image once, in order, resized and cropped.

    Images are dealt to the processes in turn. A batch is ``([b, C, S, S] float32, [b] int64)`` on
    the device; b is at most the batch size over the processes, rounded up.
    """
    b, kind = batching, images.kind
    prepared = b.augmentation.preparation(b.image_size, kind=kind, mean=b.mean)
    finish, plans = _Finish(b, kind), dealt_plans(b, len(images))
    if fit_in_memory(images, b.image_size):
        decoded = _MemoryBatches(
            images, b, partial(decode, images, prepared, progress, advice=ADVICE)
        )
        return Loader(decoded, plans, finish=finish)
    return _from_files(images, b, prepared.crop, plans, finish)


def _from_files(
    images: LabelledImages,
    batching: Batching,
    transform: PictureTransform,
    plans: Plans,
    finish: Finish,
) -> Loader:
    pinned = batching.device.type == "cuda"  # copies are faster then
    batches = _PictureBatches(images, batching, transform)
    return Loader(batches, plans, workers=batching.workers, pinned=pinned, finish=finish)


@dataclass(frozen=True, eq=False)
class _PictureBatches:
    """Batches of pictures that are read and transformed one by one, each with its own seed."""

    images: LabelledImages
    batching: Batching
    transform: PictureTransform

    def __getitem__(self, plan: BatchPlan) -> Batch:
        pixels = list[Tensor]()
        with preserved_random_state():
            for index, copy in zip(plan.indices.tolist(), plan.copies.tolist(), strict=True):
                try:
                    picture = self.images.picture(index)
                except ValueError as error:
                    failure = f"{error}; repair or remove it{ADVICE}"
                    return Batch(torch.empty(0), torch.empty(0), failure)
                seed_all(derive_seed(_IMAGE, self.batching.seed, plan.epoch, index, copy))
                pixels.append(torch.as_tensor(self.transform(picture)))
        return Batch(torch.stack(pixels), torch.from_numpy(self.images.labels[plan.indices]))


class _MemoryBatches:
    """Batches of a set in memory, which is decoded once it is needed."""

    def __init__(
        self, images: LabelledImages, batching: Batching, decoded: Callable[[], Tensor]
    ) -> None:
        self._images, self._batching, self._decoded = images, batching, decoded

    def __getitem__(self, plan: BatchPlan) -> Batch:
        values, labels = self._set
        places = torch.from_numpy(plan.indices).to(self._batching.device)
        return Batch(values[places], labels[places])

    @cached_property
    def _set(self) -> tuple[Tensor, Tensor]:
        """Pixels and labels on the device."""
        labels, device = torch.from_numpy(np.array(self._images.labels)), self._batching.device
        return self._decoded().to(device), labels.to(device)


@dataclass(frozen=True, eq=False)
class _Finish:
    """Finishes batches of pixels: normalises, augments and mixes them as a whole.

    Draws follow from the seed and the number of the batch, and are those of all processes.
    """

    batching: Batching
    kind: ImageKind
    augmentation: Augmentation | None = None
    mixing: BatchTransform | None = None

    def __call__(
        self, plans: Sequence[BatchPlan], batches: Iterable[Batch]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """The images ``[b, C, S, S]`` float32 and targets of each batch, on the device."""
        b = self.batching
        mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (b.mean, b.std))
        shift = (self.kind.scale * mean).to(b.device)
        scale = (1 / (self.kind.scale * std)).to(b.device)
        draws = drawn_ahead(partial(self._draw, plans), range(len(plans)), b.device)
        for plan, batch, drawn in zip(plans, batches, draws, strict=False):
            pixels, targets = (x.to(b.device, non_blocking=True) for x in batch[:2])
            images = augmented(pixels.float().sub_(shift).mul_(scale), drawn)
            if self.mixing is not None:
                with preserved_random_state():
                    seed_all(derive_seed(_MIX, b.seed, plan.epoch, plan.number))
                    images, targets = self.mixing(images, targets)
            yield images, targets

    def _draw(self, plans: Sequence[BatchPlan], number: int) -> Draws:
        """Draws for the own share of a batch, from those for all processes."""
        b, plan = self.batching, plans[number]
        if self.augmentation is None:
            return {}
        seed = derive_seed(_IMAGE, b.seed, plan.epoch, plan.number)
        generator = torch.Generator().manual_seed(seed)
        shape = torch.Size((self.kind.channels, b.image_size, b.image_size))
        whole = draw_batch(b.batch_size, shape, self.augmentation, generator)
        own = torch.from_numpy(batch_share(b.batch_size, b.rank, b.world))
        return {name: values[own] for name, values in whole.items()}


def dealt_plans(batching: Batching, images: int) -> Plans:
    """The batches of so many images, each once and in order, dealt to the processes in turn.

    Shares differ by at most one image, so one process may have a batch less than another.
    """
    own = np.arange(batching.rank, images, batching.world)
    size = -(-batching.batch_size // batching.world)
    parts = (own[begin : begin + size] for begin in range(0, len(own), size))
    plans = [BatchPlan(0, number, part, np.zeros_like(part)) for number, part in enumerate(parts)]
    return lambda _epoch: plans


def shuffled_plans(
    batching: Batching, images: int, source: str, labels: Indices | None = None
) -> Plans:
    """A process's share of the batches of so many shuffled images, which ``source`` describes.

    With several copies of each image, an epoch has fewer different ones: its length stays. So it
    does with ``labels``, of which an epoch has equally many of each.
    """
    size, world, copies = batching.batch_size, batching.world, batching.augmentation.repeats
    if size % world:
        raise ValueError(
            f"a batch of {size} images does not go into {world} processes; use a multiple"
        )
    if size > images:
        raise ValueError(
            f"a batch of {size} images is more than there are to train on: {source}; use "
            f"--batch-size {images} or less"
        )
    own = batch_share(size, batching.rank, world)

    def plans(epoch: int) -> list[BatchPlan]:
        seed = derive_seed(_ORDER, batching.seed, epoch)
        order = epoch_order(images, size, copies=max(copies, 1), seed=seed, labels=labels)
        return [
            BatchPlan(epoch, number, indices[own], numbers[own])
            for number, (indices, numbers) in enumerate(zip(*order, strict=True))
        ]

    return plans


def epoch_order(
    count: int, batch_size: int, *, copies: int, seed: int, labels: Indices | None = None
) -> tuple[Indices, Indices]:
    """Deal shuffled images, each with all its copies, to batches.

    With ``labels``, equally many images of each class are dealt, those of small classes again and
    again; every time has copy numbers of its own. Each batch is sorted by copy number, so that the
    copies of an image go to different processes and are not mixed with each other.

    Returns:
        Image indices and copy numbers, ``[count // batch_size, batch_size]`` each.

    References:
        Hoffer et al. 2019, "Augment your batch", arXiv:1901.09335; in turns over processes as in
        DeiT, arXiv:2012.12877.
    """
    steps = count // batch_size
    dealt = steps * batch_size
    wanted, rng = -(-dealt // copies), np.random.default_rng(np.random.SeedSequence(seed))
    if labels is None:
        shuffled, times = rng.permutation(count)[:wanted], np.zeros(wanted, dtype=np.int64)
    else:
        shuffled, times = balanced_order(labels, wanted, rng)
    images = np.repeat(shuffled, copies)[:dealt].reshape(steps, batch_size)
    numbers = np.arange(dealt) % copies + np.repeat(copies * times, copies)[:dealt]
    numbers = numbers.reshape(steps, batch_size)
    by_copy = np.argsort(numbers, axis=1, kind="stable")
    return np.take_along_axis(images, by_copy, 1), np.take_along_axis(numbers, by_copy, 1)


def batch_share(batch_size: int, rank: int, world: int) -> Indices:
    """Positions ``[batch_size / world]`` in the global batch that a process takes, ascending.

    Some are from the front, some from the end, as timm mixes image i of a batch with image i from
    its end: the same images are mixed for any number of processes that divides the batch.
    """
    own = batch_size // world
    front, back = own // 2, own - own // 2
    end = batch_size - rank * back
    return np.concatenate(
        [np.arange(rank * front, (rank + 1) * front), np.arange(end - back, end)]
    )


def derive_seed(*key: int) -> int:
    """Hash ``key`` to a seed below 2⁶³, ten times as fast as ``numpy.random.SeedSequence``."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def seed_all(seed: int) -> None:
    """Seed the global generators of Python, numpy and PyTorch (CPU): timm draws from all three."""
    random.seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)  # noqa: NPY002
    torch.default_generator.manual_seed(seed)  # torch.manual_seed would initialise CUDA


@contextmanager
def preserved_random_state() -> Iterator[None]:
    """Restore the state of these generators when the block ends."""
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002
    pytorch = torch.default_generator.get_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002
        torch.default_generator.set_state(pytorch)

"""Batches of images that depend only on the seed and the epoch, not on workers or processes.

Pixels come from a set in memory or from data workers, which read and augment single pictures.
What is left is done for whole batches on the device that trains: it normalises, augments and
mixes.
"""

import hashlib
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from asvit.data import LabelledImages
from asvit.data.base import Progress
from asvit.data.cache import decode, fit_in_memory
from asvit.data.kinds import MEAN, STD, ImageKind, Statistics
from asvit.data.preparation import PictureTransform, Preparation
from asvit.data.statistics import Normalisation
from asvit.data.training_sets import TrainingSets, open_training_sets
from asvit.training.augmentation import (
    Augmentation,
    BatchTransform,
    Draws,
    augmented,
    draw_batch,
    drawn_ahead,
)
from asvit.training.distributed import ProcessGroup
from asvit.training.settings import TrainSettings
from proxies.messages import first_line

Indices = NDArray[np.int64]
Batch = tuple[Any, Any]  # images and targets
Sample = tuple[Any, Any]  # an image and its target

PATIENCE = 300  # seconds to wait for a batch before its workers count as lost

_ORDER, _IMAGE, _MIX = 0, 1, 2  # first keys of the seeds of a training
_OF_SETS: Final = (
    *("validation", "held_out", "image_size", "seed", "train_images", "validation_images"),
    *("classes", "train_on_validation"),
)


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
    times: Indices  # how often each image came before in this epoch, [b]


class Batches(Protocol):
    """The batch of each plan; a ValueError says why there is none."""

    def __getitem__(self, plan: BatchPlan) -> Batch: ...


# What makes the images and targets of a training from the pixels of planned batches.
Finish = Callable[[Sequence[BatchPlan], Iterable[Batch]], Iterator[Batch]]
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
        self._batches, self._plans, self._finish = _Outcomes(batches), plans, finish
        self._epoch, self._start = plans(0), 0
        self._left: list[BatchPlan] = []  # what the workers prepare
        self._workers: Any = None
        if workers:
            dataset: Any = self._batches
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

    def __iter__(self) -> Iterator[Batch]:
        """Iterate over the images and targets of each batch."""
        batches = self.prepared()
        return self._finish(self._epoch[self._start :], batches) if self._finish else batches

    def prepared(self) -> Iterator[Batch]:
        """Iterate over the batches before they are finished."""
        self._left[:] = plans = self._epoch[self._start :]
        try:
            read = map(self._batches.__getitem__, plans)
            for batch in read if self._workers is None else self._workers:
                if isinstance(batch, ValueError):
                    raise batch
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


@dataclass(frozen=True, eq=False)
class _Outcomes:
    """Batches, or the errors in their place: those that workers raise have long messages."""

    batches: Batches

    def __getitem__(self, plan: BatchPlan) -> Batch | ValueError:
        try:
            return self.batches[plan]
        except ValueError as error:
            return ValueError(str(error))


@dataclass(frozen=True, eq=False)
class SampleBatches:
    """Batches of samples that are read and augmented one by one, each with a seed of its own."""

    read: Callable[[int], Sample]
    augment: Callable[[Any, Any], Sample] | None  # draws from the global generators
    key: tuple[int, ...]  # of the seeds
    joined: Callable[[list[Any], list[Any]], Batch]

    def __getitem__(self, plan: BatchPlan) -> Batch:
        samples = list[Sample]()
        with preserved_random_state():
            for index, time in zip(plan.indices.tolist(), plan.times.tolist(), strict=True):
                sample = self.read(index)
                if self.augment is not None:
                    again = (time,) if time else ()
                    seed_all(derive_seed(*self.key, plan.epoch, index, *again))
                    sample = self.augment(*sample)
                samples.append(sample)
        images, targets = zip(*samples, strict=True)
        return self.joined([*images], [*targets])


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
    prepared = replace(how, crop_pct=1.0).preparation(b.image_size, kind=kind, mean=b.mean)
    if how.in_batches(kind) and (not kind.picture or fit_in_memory(images, b.image_size)):
        finish = _Finish(b, kind, how, mixing)
        return _cropped(images, b, prepared, plans, finish, progress)
    transform = how.train_transform(b.image_size, mean=b.mean)
    finish = _Finish(b, kind, how.after_pictures(), mixing)
    return _from_files(images, b, transform, plans, finish)


def validation_loader(
    images: LabelledImages, batching: Batching, *, progress: Progress | None = None
) -> Loader:
    """A loader of validation batches: every image once, in order, resized and cropped.

    Images are dealt to the processes in turn. A batch is ``([b, C, S, S] float32, [b] int64)`` on
    the device; b is at most the batch size over the processes, rounded up.
    """
    b, kind = batching, images.kind
    prepared = b.augmentation.preparation(b.image_size, kind=kind, mean=b.mean)
    plans = dealt_plans(b, len(images))
    return _cropped(images, b, prepared, plans, _Finish(b, kind), progress)


def _cropped(
    images: LabelledImages,
    batching: Batching,
    prepared: Preparation,
    plans: Plans,
    finish: Finish,
    progress: Progress | None,
) -> Loader:
    """Batches of images that are all resized and cropped alike, in memory if they fit."""
    if not fit_in_memory(images, batching.image_size):
        return _from_files(images, batching, prepared.crop, plans, finish)
    decoded = partial(decode, images, prepared, progress)
    return Loader(_MemoryBatches(images, batching.device, decoded), plans, finish=finish)


def _from_files(
    images: LabelledImages,
    batching: Batching,
    transform: PictureTransform,
    plans: Plans,
    finish: Finish,
) -> Loader:
    read, augment = partial(_picture, images), partial(_transformed, transform)
    batches = SampleBatches(read, augment, (_IMAGE, batching.seed), _stacked)
    pinned = batching.device.type == "cuda"  # copies are faster then
    return Loader(batches, plans, workers=batching.workers, pinned=pinned, finish=finish)


# What workers take is at module level, as their start may pickle it.
def _picture(images: LabelledImages, index: int) -> Sample:
    return images.picture(index), int(images.labels[index])


def _transformed(transform: PictureTransform, picture: Any, label: int) -> Sample:
    return torch.as_tensor(transform(picture)), label


def as_lists(images: list[Any], targets: list[Any]) -> Batch:
    """Images of other sizes, and annotations."""
    return images, targets


def _stacked(pixels: list[Tensor], labels: list[int]) -> Batch:
    return torch.stack(pixels), torch.tensor(labels)


class _MemoryBatches:
    """Batches of a set in memory, which is decoded once it is needed."""

    def __init__(
        self, images: LabelledImages, device: torch.device, decoded: Callable[[], Tensor]
    ) -> None:
        self._images, self._device, self._decoded = images, device, decoded

    def __getitem__(self, plan: BatchPlan) -> Batch:
        values, labels = self._set
        places = torch.from_numpy(plan.indices).to(self._device)
        return values[places], labels[places]

    @cached_property
    def _set(self) -> tuple[Tensor, Tensor]:
        labels = torch.from_numpy(np.array(self._images.labels))
        return self._decoded().to(self._device), labels.to(self._device)


@dataclass(frozen=True, eq=False)
class _Finish:
    """Finishes batches of pixels: normalises, augments and mixes them as a whole.

    Draws follow from the seed and the number of the batch, and are those of all processes.
    """

    batching: Batching
    kind: ImageKind
    augmentation: Augmentation | None = None
    mixing: BatchTransform | None = None

    def __call__(self, plans: Sequence[BatchPlan], batches: Iterable[Batch]) -> Iterator[Batch]:
        b = self.batching
        mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (b.mean, b.std))
        shift = (self.kind.scale * mean).to(b.device)
        scale = (1 / (self.kind.scale * std)).to(b.device)
        draws = drawn_ahead(partial(self._draw, plans), range(len(plans)), b.device)
        for plan, batch, drawn in zip(plans, batches, draws, strict=False):
            pixels, targets = (x.to(b.device, non_blocking=True) for x in batch)
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

    With ``labels``, an epoch has as many images, but equally many of each class.
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
    own, dealt = batch_share(size, batching.rank, world), images // size * size

    def plans(epoch: int) -> list[BatchPlan]:
        seed = derive_seed(_ORDER, batching.seed, epoch)
        rng = np.random.default_rng(np.random.SeedSequence(seed))
        if labels is None:
            order, times = rng.permutation(images)[:dealt], np.zeros(dealt, dtype=np.int64)
        else:
            order, times = balanced_order(labels, dealt, rng)
        places = (own + begin for begin in range(0, dealt, size))
        return [
            BatchPlan(epoch, number, order[some], times[some])
            for number, some in enumerate(places)
        ]

    return plans


def balanced_order(
    labels: ArrayLike, count: int, rng: np.random.Generator
) -> tuple[Indices, Indices]:
    """Shuffled indices of images, equally many of each class as far as possible.

    An image of a class comes again once all of its class have come.

    Returns:
        Indices, and how often each came before, ``[count]`` each.
    """
    of_each = np.asarray(labels)
    labels, sizes = np.unique(of_each, return_counts=True)
    groups = np.split(np.argsort(of_each, kind="stable"), np.cumsum(sizes)[:-1])
    own_of = dict(zip(labels.tolist(), groups, strict=True))
    classes = rng.permutation(labels)  # the first get what is left of a division
    share, rest = divmod(count, len(classes))
    indices, times = list[Indices](), list[Indices]()
    for place, label in enumerate(classes.tolist()):
        own, size = own_of[label], share + (place < rest)
        rounds = (rng.permutation(own) for _ in range(-(-size // len(own))))
        indices.append(np.concatenate([own[:0], *rounds])[:size])
        times.append(np.arange(size) // len(own))
    order = rng.permutation(count)
    return np.concatenate(indices)[order], np.concatenate(times)[order]


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


def open_sets(settings: TrainSettings, **changes: Any) -> TrainingSets:
    """Open the images that settings name; ``changes`` are options of ``open_training_sets``."""
    options = {name: getattr(settings, name) for name in _OF_SETS}
    return open_training_sets(settings.data, **{**options, **changes})


def batching_of(settings: Any, processes: ProcessGroup, workers: int, **more: Any) -> Batching:
    """How a process makes its batches, from the settings of any training and ``more``."""
    return Batching(
        image_size=settings.image_size,
        batch_size=settings.batch_size,
        seed=settings.seed,
        workers=workers,
        rank=processes.rank,
        world=processes.world,
        device=processes.device,
        **more,
    )


def open_loaders(
    sets: TrainingSets,
    settings: TrainSettings,
    processes: ProcessGroup,
    *,
    normalisation: Normalisation | None,
    workers: int,
    progress: Progress | None = None,
) -> tuple[Loader, Loader]:
    """A process's batches to train on and to validate on."""
    batching = batching_of(
        settings,
        processes,
        workers,
        **({} if normalisation is None else vars(normalisation)),
        augmentation=settings.augmentation,
        label_smoothing=settings.label_smoothing,
        balanced=settings.balance == "sampling",
    )
    return (
        train_loader(sets.train, batching, progress=progress),
        validation_loader(sets.validation, batching, progress=progress),
    )

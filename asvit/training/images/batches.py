"""Batches of images, read and augmented from a plan of their indices."""

import math
import os
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from asvit.data import LabelledImages
from asvit.data.kinds import MEAN, STD, ImageKind, Picture, Statistics
from asvit.data.preparation import PictureTransform
from asvit.training.images.augmentation import Augmentation, BatchTransform, ImageTransform
from asvit.training.images.finishing import Eraser, Patches
from asvit.training.images.order import BatchPlan
from asvit.training.images.seeds import IMAGE, MIX, derive_seed, preserved_random_state, seed_all

_KEPT = 2**29  # bytes of decoded pictures that a loader keeps, in all its workers together


@dataclass(frozen=True, kw_only=True)
class Batching:
    """How images become batches."""

    image_size: int  # pixels per side
    batch_size: int  # images of a batch over all processes; each loads its share
    augmentation: Augmentation = field(default_factory=Augmentation)
    seed: int = 0  # of all draws
    # Subtracted from the pixels, which are in [0, 1], or as files have them where the scale of
    # their kind is 1.
    mean: Statistics = MEAN
    std: Statistics = STD  # divides them afterwards
    balanced: bool = False  # whether an epoch has equally many images of each class
    label_smoothing: float = 0.0  # of mixed targets; that of other labels is left to the loss
    workers: int = 0  # processes that load, and stay from epoch to epoch; 0 for this one
    rank: int = 0  # of this process
    world: int = 1  # processes that share each batch
    # Whether the next readable image takes the place of an unreadable one, with a warning and a
    # count; else an error names it.
    replace_bad: bool = False
    # A CUDA device that joins, normalises, erases and mixes; None leaves it to the workers.
    device: torch.device | None = None

    def shift_and_scale(self, kind: ImageKind) -> tuple[Tensor, Tensor]:
        """What is subtracted from pixels, and what then multiplies them, ``[C, 1, 1]`` each."""
        mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (self.mean, self.std))
        return kind.scale * mean, 1 / (kind.scale * std)


class Batch(NamedTuple):
    """A batch or a part of one, or why there is none: workers cannot raise errors elsewhere."""

    images: Any  # [b, C, S, S], or of other sizes a list; of pictures for a device uint8
    targets: Any  # [b] or [b, classes], or a list of annotations
    bad: tuple[tuple[str, str], ...] = ()  # name of every image that was replaced, and the reason
    failure: str | None = None  # why there is no batch
    patches: Patches | None = None  # to erase once the images are normalised


@dataclass(eq=False)
class ImageBatches(Dataset[Batch]):
    """The batch of each :class:`BatchPlan`.

    ``transform`` maps an image to ``[C, S, S]``, ``on_normalised`` changes a normalised one in
    place, and ``mixing`` takes the whole batch. All may draw from the global generators, which are
    seeded for each of them and restored.
    """

    images: LabelledImages
    batching: Batching
    transform: PictureTransform
    on_normalised: ImageTransform | None = None
    mixing: BatchTransform | None = None
    _kept: dict[int, Picture] = field(default_factory=dict, init=False, repr=False)
    _room: int = field(init=False, repr=False)  # bytes

    def __post_init__(self) -> None:
        self._room = _KEPT // max(1, self.batching.workers)

    def __getitem__(self, plan: BatchPlan) -> Batch:
        size, seed = self.batching.image_size, self.batching.seed
        bad: list[tuple[int, str]] = []
        kind = self.images.kind
        pixels = kind.picture and self.batching.device is not None
        shape = len(plan.indices), kind.channels, size, size
        images = _empty(shape, torch.uint8 if pixels else torch.float32)
        labels = torch.empty(len(plan.indices), dtype=torch.int64)
        shift, scale = self.batching.shift_and_scale(kind)
        eraser = Eraser(kind.channels, size) if pixels and self.on_normalised else None
        with preserved_random_state():
            for row, (index, copy) in enumerate(zip(plan.indices, plan.copies, strict=True)):
                try:
                    picture, labels[row] = self._read(int(index), bad)
                except ValueError as error:
                    return Batch(torch.empty(0), torch.empty(0), failure=str(error))
                seed_all(derive_seed(IMAGE, seed, plan.epoch, int(index), int(copy)))
                image = images[row].copy_(self.transform(picture))
                if not pixels:
                    image.sub_(shift).mul_(scale)  # per image, while it is in the cache
                if self.on_normalised is not None:
                    self.on_normalised(image if eraser is None else eraser.of(row))
            targets = labels
            if self.mixing is not None:
                # Equal in all processes that share the batch.
                seed_all(derive_seed(MIX, seed, plan.epoch, plan.number))
                images, targets = self.mixing(images, labels)
        names = tuple((self.images.name(index), why) for index, why in bad)
        targets = _empty(targets.shape, targets.dtype).copy_(targets)
        if eraser is None:
            return Batch(images, targets, names)
        places, noise = eraser.patches
        patches = Patches(places, _empty(noise.shape).copy_(noise))
        return Batch(images, targets, names, patches=patches)

    def _read(self, index: int, bad: list[tuple[int, str]]) -> tuple[Picture, int]:
        """Read an image; if bad images are replaced, read the next one that is readable.

        ``bad`` collects the index of each unreadable image, with the reason.
        """
        count = len(self.images)
        for candidate in (place % count for place in range(index, index + count)):
            try:
                return self._picture(candidate), int(self.images.labels[candidate])
            except ValueError as error:
                if not self.batching.replace_bad:
                    advice = "repair or remove it, or give --bad-images replace"
                    raise ValueError(f"{error}; {advice}") from error
                bad.append((candidate, str(error)))
        raise ValueError(f"none of the images can be read: {self.images.source}")

    def _picture(self, index: int) -> Picture:
        """An image, which is kept while there is room: decoding a small picture takes a third."""
        if (kept := self._kept.get(index)) is not None:
            return kept
        picture = self.images.picture(index)
        if isinstance(picture, Image.Image):
            size = 4 * picture.width * picture.height  # Pillow has four bytes for a pixel
        else:
            size = picture.nbytes
        if size <= self._room:
            self._kept[index] = picture
            self._room -= size
        return picture


def _empty(shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
    """A tensor that a worker can pass on without a copy and without space in /dev/shm.

    Containers have 64 MB of that by default; a batch of 128 images at 224 px takes 77 MB.
    """
    if get_worker_info() is None or not hasattr(os, "memfd_create"):
        return torch.empty(shape, dtype=dtype)
    storages: Any = torch.UntypedStorage
    size = math.prod(shape) * dtype.itemsize
    with os.fdopen(os.memfd_create("batch"), "wb") as file:
        file.truncate(size)
        storage = storages._new_shared_fd_cpu(file.fileno(), size)
    return torch.empty(0, dtype=dtype).set_(storage).view(shape)

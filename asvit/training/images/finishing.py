"""Batches that a GPU joins from parts of them, augments, normalises, erases and mixes.

Workers hand on 8-bit pixels, a quarter of the bytes of normalised images. All draws are those of
the workers, so batches have the values that workers alone would have given them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from asvit.training.images.augmentation import BatchTransform
from asvit.training.images.seeds import MIX, derive_seed, preserved_random_state, seed_all

Images = tuple[Tensor, Tensor]  # [b, C, S, S] and their targets


class Patches(NamedTuple):
    """Rectangles of normalised images, and what random erasing fills them with."""

    places: Sequence[tuple[int, int, int, int, int]]  # image, top, bottom, left and right
    noise: Tensor  # of all of them, [values] float32

    def fill(self, images: Tensor) -> None:
        """Fill those of ``[b, C, S, S]`` images."""
        begin, noise = 0, self.noise.to(images.device, non_blocking=True)
        for image, top, bottom, left, right in self.places:
            area = images[image, :, top:bottom, left:right]
            area.copy_(noise[begin : begin + area.numel()].view_as(area))
            begin += area.numel()


class Eraser:
    """Stands for normalised images ``[C, S, S]``, and keeps what random erasing writes to them."""

    dtype = torch.float32

    def __init__(self, channels: int, side: int) -> None:
        self._size = channels, side, side
        self._places = list[tuple[int, int, int, int, int]]()
        self._noise = [torch.empty(0)]

    def of(self, image: int) -> Tensor:
        """Stand for the image of this number in its batch."""
        self._image = image
        return cast("Tensor", self)

    def size(self) -> tuple[int, int, int]:
        """As of a tensor."""
        return self._size

    def __setitem__(self, area: tuple[slice, slice, slice], noise: Tensor) -> None:
        _, rows, columns = area
        self._places.append((self._image, rows.start, rows.stop, columns.start, columns.stop))
        self._noise.append(noise.flatten())

    @property
    def patches(self) -> Patches:
        """All rectangles so far."""
        return Patches(self._places, torch.cat(self._noise))


@dataclass(frozen=True, eq=False, kw_only=True)
class Finish:
    """What is left to do for batches once their parts are on a device."""

    device: torch.device
    seed: int
    shift: Tensor  # [C, 1, 1], subtracted from pixels
    scale: Tensor  # [C, 1, 1], multiplies them afterwards
    mixing: BatchTransform | None = None

    @cached_property
    def _there(self) -> tuple[Tensor, Tensor]:
        """The first two on the device; copying them for each batch would wait for it."""
        return self.shift.to(self.device), self.scale.to(self.device)

    @cached_property
    def stream(self) -> Any:
        """The CUDA stream that finishes batches, in all epochs; None on another device.

        torch keeps the memory of a stream for that stream alone.
        """
        return torch.cuda.Stream(self.device) if self.device.type == "cuda" else None

    def __call__(self, parts: Sequence[Any], epoch: int, number: int) -> Images:
        """The batch of this number in an epoch, from its parts in order.

        Their images are pixels ``[b, C, S, S]`` uint8, or normalised float32.
        """
        images = torch.cat([part.images.to(self.device, non_blocking=True) for part in parts])
        begins = [*accumulate((len(part.images) for part in parts[:-1]), initial=0)]
        if images.dtype == torch.uint8:
            shift, scale = self._there
            images = images.float().sub_(shift).mul_(scale)
        for begin, part in zip(begins, parts, strict=True):
            if part.patches is not None:
                part.patches.fill(images[begin:])
        targets = torch.cat([part.targets.to(self.device, non_blocking=True) for part in parts])
        if self.mixing is None:
            return images, targets
        with preserved_random_state():
            seed_all(derive_seed(MIX, self.seed, epoch, number))
            return self.mixing(images, targets)


def ahead(batches: Iterator[Images], stream: Any) -> Iterator[Images]:
    """The same batches, on CUDA finished by ``stream`` while the last step runs."""
    if stream is None:
        yield from batches
        return
    while True:
        with torch.cuda.stream(stream):
            batch = next(batches, None)
        if batch is None:
            return
        current = torch.cuda.current_stream(stream.device)
        current.wait_stream(stream)
        for tensor in batch:
            tensor.record_stream(current)  # so that its memory is not used again before the step
        yield batch

"""Which image comes when: the steps of an epoch of training, and shares of validation images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from asvit.training.images.mixing import share
from asvit.training.images.streams import stream

Numbers = NDArray[np.int64]

_ORDER = 0  # first key of the random stream


class Step(NamedTuple):
    """What a batch is to hold: all that a worker has to be told.

    Attributes:
        epoch: Epoch, from 0.
        number: Which batch of it.
        indices: Numbers of the images, ``[b]``.
        copies: Which copy of its image each one is, ``[b]``.
    """

    epoch: int
    number: int
    indices: Numbers
    copies: Numbers


class TrainingOrder(Sampler[Step]):
    """Steps of an epoch for one of the processes that share its batches.

    Args:
        count: Number of images.
        batch_size: Images of a batch over all processes.
        seed: Seed of the order of every epoch.
        copies: How many copies of an image an epoch has; of fewer images, since its length stays.
        rank: Number of the process.
        world: How many processes there are.
    """

    def __init__(
        self, count: int, batch_size: int, *, seed: int, copies: int, rank: int, world: int
    ) -> None:
        self.epoch = 0
        self._count = count
        self._batch_size = batch_size
        self._seed = seed
        self._copies = copies
        self._places = share(batch_size, rank, world)

    def __len__(self) -> int:
        return self._count // self._batch_size

    def __iter__(self) -> Iterator[Step]:
        epoch = self.epoch
        indices, copies = epoch_order(
            self._count,
            self._batch_size,
            copies=self._copies,
            seed=stream(_ORDER, self._seed, epoch),
        )
        for number in range(len(self)):
            places = self._places
            yield Step(epoch, number, indices[number, places], copies[number, places])


def epoch_order(count: int, batch_size: int, *, copies: int, seed: int) -> tuple[Numbers, Numbers]:
    """Deal shuffled images, each with all its copies, to batches.

    The copies of an image follow each other from batch to batch. Within a batch first ones come
    first, then second ones, so that the copies go to different processes and are not mixed with
    each other.

    Args:
        count: Number of images.
        batch_size: Images of a batch.
        copies: Copies of each image.
        seed: Which order.

    Returns:
        Numbers of the images and of their copies, ``[count // batch_size, batch_size]`` each.

    References:
        Hoffer et al. 2019, "Augment your batch", arXiv:1901.09335; in turns over processes as in
        DeiT, arXiv:2012.12877.
    """
    steps = count // batch_size
    dealt = steps * batch_size
    shuffled = np.random.default_rng(np.random.SeedSequence(seed)).permutation(count)
    images = np.repeat(shuffled[: -(-dealt // copies)], copies)[:dealt].reshape(steps, batch_size)
    numbers = (np.arange(dealt) % copies).reshape(steps, batch_size)
    spread = np.argsort(numbers, axis=1, kind="stable")
    return np.take_along_axis(images, spread, 1), np.take_along_axis(numbers, spread, 1)


class Shares(Sampler[Step]):
    """All images once, in turns over the processes; the steps of one process.

    Args:
        count: Number of images.
        batch_size: Images of a batch of one process; the last may have fewer.
        rank: Number of the process.
        world: How many processes there are.
    """

    def __init__(self, count: int, batch_size: int, *, rank: int, world: int) -> None:
        self.epoch = 0
        self._own = np.arange(rank, count, world)
        self._batch_size = batch_size

    def __len__(self) -> int:
        return -(-len(self._own) // self._batch_size)

    def __iter__(self) -> Iterator[Step]:
        for number in range(len(self)):
            begin = number * self._batch_size
            indices = self._own[begin : begin + self._batch_size]
            yield Step(self.epoch, number, indices, np.zeros_like(indices))

"""Which images each batch holds, and the seeds of all random draws, for any number of processes.

Seeds are derived from what they are for, never from a generator's state, so that the number of
workers and processes changes no draw.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

Indices = NDArray[np.int64]

_ORDER = 0  # first key of its seeds; loaders.py uses 1 and 2


class BatchPlan(NamedTuple):
    """What a batch holds: everything a data worker has to know."""

    epoch: int  # from 0
    number: int  # of the batch in its epoch, from 0
    indices: Indices  # of the images, [b]
    copies: Indices  # which copy of its image each one is, [b]


def training_plans(
    count: int,
    batch_size: int,
    epoch: int,
    *,
    seed: int,
    copies: int = 1,
    rank: int = 0,
    world: int = 1,
) -> list[BatchPlan]:
    """The share of one of ``world`` processes in the training batches of an epoch, from 0.

    With several copies of each image, an epoch has fewer different ones: its length stays.
    """
    drawn = derive_seed(_ORDER, seed, epoch)
    indices, numbers = epoch_order(count, batch_size, copies=copies, seed=drawn)
    own = batch_share(batch_size, rank, world)
    return [
        BatchPlan(epoch, number, images[own], which[own])
        for number, (images, which) in enumerate(zip(indices, numbers, strict=True))
    ]


def validation_plans(count: int, batch_size: int, *, rank: int, world: int) -> list[BatchPlan]:
    """All images once, dealt in turn to the processes: the batches of one process."""
    own = np.arange(rank, count, world)
    parts = (own[begin : begin + batch_size] for begin in range(0, len(own), batch_size))
    return [BatchPlan(0, number, part, np.zeros_like(part)) for number, part in enumerate(parts)]


def epoch_order(count: int, batch_size: int, *, copies: int, seed: int) -> tuple[Indices, Indices]:
    """Deal shuffled images, each with all its copies, to batches.

    The copies of an image are dealt one after another, over batches if need be. Each batch is then
    sorted by copy number, so that the copies of an image go to different processes and are not
    mixed with each other.

    Returns:
        Image indices and copy numbers, ``[count // batch_size, batch_size]`` each.

    References:
        Hoffer et al. 2019, "Augment your batch", arXiv:1901.09335; in turns over processes as in
        DeiT, arXiv:2012.12877.
    """
    steps = count // batch_size
    dealt = steps * batch_size
    shuffled = np.random.default_rng(np.random.SeedSequence(seed)).permutation(count)
    images = np.repeat(shuffled[: -(-dealt // copies)], copies)[:dealt].reshape(steps, batch_size)
    numbers = (np.arange(dealt) % copies).reshape(steps, batch_size)
    by_copy = np.argsort(numbers, axis=1, kind="stable")
    return np.take_along_axis(images, by_copy, 1), np.take_along_axis(numbers, by_copy, 1)


def batch_share(batch_size: int, rank: int, world: int) -> Indices:
    """Positions in the global batch that a process takes: some from the front, some from the end.

    timm mixes image i of a batch with image i from its end. With these shares, the same images are
    mixed for any number of processes, of which the batch is a multiple.

    Returns:
        Positions, ascending, ``[batch_size / world]``.
    """
    own = batch_size // world
    front, back = own // 2, own - own // 2
    end = batch_size - rank * back
    return np.concatenate(
        [np.arange(rank * front, (rank + 1) * front), np.arange(end - back, end)]
    )


def derive_seed(*key: int) -> int:
    """Hash ``key`` to a seed below 2⁶³, the same on every machine.

    It takes about a microsecond, a tenth of a ``numpy.random.SeedSequence``.
    """
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
    python, legacy, pytorch = (
        random.getstate(),
        np.random.get_state(),  # noqa: NPY002
        torch.default_generator.get_state(),
    )
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002
        torch.default_generator.set_state(pytorch)

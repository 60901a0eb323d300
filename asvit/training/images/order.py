"""Which images of an epoch are in which batch, which of them a process takes, and all seeds."""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from asvit.training.balance import balanced_order

Indices = NDArray[np.int64]

ORDER, IMAGE, MIX = 0, 1, 2  #: first keys of the seeds of a training


class BatchPlan(NamedTuple):
    """The content of a batch: all that a data worker needs."""

    epoch: int  # from 0
    number: int  # of the batch in its epoch, from 0
    indices: Indices  # of the images, [b]
    copies: Indices  # number of the copy of each image, [b]


def training_plans(
    count: int,
    batch_size: int,
    epoch: int,
    *,
    seed: int,
    copies: int = 1,
    rank: int = 0,
    world: int = 1,
    labels: Indices | None = None,
) -> list[BatchPlan]:
    """The share of one of ``world`` processes in the training batches of an epoch, from 0.

    With several copies of each image, an epoch has fewer different ones: its length stays. So it
    does with ``labels``, of which an epoch has equally many of each.
    """
    seed = derive_seed(ORDER, seed, epoch)
    indices, numbers = epoch_order(count, batch_size, copies=copies, seed=seed, labels=labels)
    own = batch_share(batch_size, rank, world)
    return [
        BatchPlan(epoch, number, images[own], copy_numbers[own])
        for number, (images, copy_numbers) in enumerate(zip(indices, numbers, strict=True))
    ]


def ordered_plans(
    count: int, batch_size: int, *, rank: int = 0, world: int = 1
) -> list[BatchPlan]:
    """The batches of a process of images that are dealt to all in turn, each once and in order.

    Shares differ by at most one image, so one process may have a batch less than another.
    """
    own = np.arange(rank, count, world)
    size = -(-batch_size // world)
    parts = (own[begin : begin + size] for begin in range(0, len(own), size))
    return [BatchPlan(0, number, part, np.zeros_like(part)) for number, part in enumerate(parts)]


def epoch_order(
    count: int, batch_size: int, *, copies: int, seed: int, labels: Indices | None = None
) -> tuple[Indices, Indices]:
    """Deal shuffled images, each with all its copies, to batches.

    With ``labels``, equally many images of each class are dealt, those of small classes again and
    again; every time has copy numbers of its own.

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
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002
    pytorch = torch.default_generator.get_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002
        torch.default_generator.set_state(pytorch)

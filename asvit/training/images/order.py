"""Which images of an epoch are in which batch, and which of them a process takes."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from asvit.training.balance import balanced_order
from asvit.training.images.seeds import ORDER, derive_seed

Indices = NDArray[np.int64]

PART = 32  # images that a worker prepares in one go: about 0.15 s of a core at 224 px


class BatchPlan(NamedTuple):
    """The content of a batch: all that a data worker needs."""

    epoch: int  # from 0
    number: int  # of the batch in its epoch, from 0
    indices: Indices  # of the images, [b]
    copies: Indices  # number of the copy of each image, [b]

    @property
    def parts(self) -> list["BatchPlan"]:
        """Plans of its parts, which different workers can prepare, in order."""
        count = len(self.indices)
        cuts = (slice(begin, begin + PART) for begin in range(0, count, PART))
        return [self._replace(indices=self.indices[c], copies=self.copies[c]) for c in cuts]


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
    order_seed = derive_seed(ORDER, seed, epoch)
    indices, numbers = epoch_order(
        count, batch_size, copies=copies, seed=order_seed, labels=labels
    )
    own = batch_share(batch_size, rank, world)
    return [
        BatchPlan(epoch, number, images[own], copy_numbers[own])
        for number, (images, copy_numbers) in enumerate(zip(indices, numbers, strict=True))
    ]


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

    Some are from the front, some from the end. timm mixes image i of a batch with image i from its
    end. With these shares, the same images are mixed for any number of processes, of which the
    batch is a multiple.
    """
    own = batch_size // world
    front, back = own // 2, own - own // 2
    end = batch_size - rank * back
    return np.concatenate(
        [np.arange(rank * front, (rank + 1) * front), np.arange(end - back, end)]
    )

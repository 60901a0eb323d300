"""The learning rate of every update: a linear warm-up, then a decay."""

import math
from collections.abc import Callable
from dataclasses import dataclass

WARMUP_SHARE = 5  # a warm-up takes at most a fifth of a training, unless its length is given


def cosine(done: float) -> float:
    """Half a cosine wave, from 1 to 0, at a share ``done`` of its length."""
    return (1 + math.cos(math.pi * done)) / 2


@dataclass(frozen=True)
class Schedule:
    """The learning rate of each update, from 0, which follows from its number alone.

    References:
        Loshchilov and Hutter 2017, "SGDR", arXiv:1608.03983: the cosine.
    """

    peak: float  # after the warm-up
    updates: int  # of the whole training
    warmup: int = 0  # updates in which the rate rises linearly to the peak
    first: float = 0.0  # rate of the first of these
    last: float = 0.0  # rate that the decay leads to
    decay: Callable[[float], float] = (
        cosine  # share that is done -> share of the peak that is left
    )
    after_warmup: bool = False  # whether the decay begins there, not with the training

    def __call__(self, update: int) -> float:
        """The learning rate of an update."""
        if update < self.warmup:
            return self.first + update * ((self.peak - self.first) / self.warmup)
        begin = self.warmup if self.after_warmup else 0
        done = (update - begin) / max(self.updates - begin, 1)
        return self.last + (self.peak - self.last) * self.decay(min(done, 1.0))

"""The re-tokenization schedule: which epochs use coarse tokens, and what that saves."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, Self

from proxies.text import shown

STAGES: Final = 3  # coarse, middle, full: the stages of asvit.models.token_stages
#: FLOPs of a step at each stage relative to full resolution, from arXiv:2202.11921.
PUBLISHED_FRACTIONS: Final = (0.132, 0.285, 1.0)
#: Tenths of a training after which the stages of ``auto`` end. Our choice: 120/90/90 of 300 epochs
#: is the only plan in multiples of ten epochs that saves the published 56.2 % of the FLOPs (time:
#: 41.1 %) at the published costs.
AUTO: Final = (4, 7)
OFF: Final = "off"


@dataclass(frozen=True)
class TokenPlan:
    """How many epochs to train at each stage of tokens, coarse to fine.

    A stage may have none, except the last: the network is used at full resolution.
    """

    epochs: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.epochs[-1] == 0:
            raise ValueError(
                f"{self} leaves no epoch for tokens of full resolution; give the last stage 1 or "
                "more"
            )

    @classmethod
    def parse(cls, text: str, epochs: int) -> Self:
        """Parse a plan for a training of so many epochs.

        It has epochs of each stage, coarse to fine, such as ``"120/90/90"``; or is ``"auto"`` for
        :data:`AUTO`, or ``"off"`` for full resolution in all epochs.
        """
        if text == OFF:
            return cls((*(0,) * (STAGES - 1), epochs))
        if text == "auto":
            first, second = (end * epochs // 10 for end in AUTO)
            return cls((first, second - first, epochs - second))
        parts = text.split("/")
        if len(parts) != STAGES or not all(part.isascii() and part.isdecimal() for part in parts):
            raise ValueError(
                f"{shown(text)} is not a plan of {STAGES} stages of tokens; use epochs such as "
                f"120/90/90, 'auto' or '{OFF}'"
            )
        plan = tuple(map(int, parts))
        if sum(plan) != epochs:
            raise ValueError(
                f"{text} is {sum(plan)} epochs, but the training has {epochs}; use epochs that "
                "add up to it"
            )
        return cls(plan)

    def __str__(self) -> str:
        """``"120/90/90"``, or ``"off"`` without coarse stages; :meth:`parse` reads it."""
        return OFF if self.is_off else "/".join(map(str, self.epochs))

    @property
    def is_off(self) -> bool:
        """Whether all epochs use full resolution."""
        return self.epochs[-1] == sum(self.epochs) > 0

    def stage(self, epoch: int) -> int:
        """The stage of an epoch, both from 0."""
        return next(i for i, end in enumerate(accumulate(self.epochs)) if epoch < end)


def saved(plan: TokenPlan, fractions: Sequence[float]) -> float:
    """The share of the training cost that a plan saves: ``1 − Σ share · fraction``.

    The fractions are the costs of an epoch of each stage relative to full resolution.
    """
    spent = math.fsum(e * f for e, f in zip(plan.epochs, fractions, strict=True))
    return 1 - spent / sum(plan.epochs)

"""The re-tokenization schedule: which epochs use coarse tokens, and what that saves."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, pairwise
from typing import Final, Self

from proxies.text import shown

STAGES: Final = 3  # coarse, middle, full: the stages of asvit.models.token_stages
#: FLOPs of a step at each stage relative to full resolution, from arXiv:2202.11921.
PUBLISHED_FRACTIONS: Final = (0.132, 0.285, 1.0)
#: Our choice: 120/90/90 of 300 epochs. At the published costs, it is the only plan in multiples
#: of ten epochs that saves the published 56.2 % of the FLOPs (time: 41.1 %).
AUTO: Final = "0.4/0.3/0.3"
OFF: Final = "off"

# A few ASCII digits only: Fraction() accepts much more.
_NUMBER: Final = re.compile(r"[0-9]{0,6}\.[0-9]{1,9}|[0-9]{1,6}\.?")


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

        It has epochs of each stage, coarse to fine, such as ``"120/90/90"``; shares of all epochs,
        such as ``"0.4/0.3/0.3"``, where the start of each stage is rounded down to a whole epoch;
        ``"auto"`` for :data:`AUTO`; or ``"off"`` for full resolution in all epochs.
        """
        if text == OFF:
            return cls((*(0,) * (STAGES - 1), epochs))
        parts = (AUTO if text == "auto" else text).split("/")
        if len(parts) != STAGES or not all(map(_NUMBER.fullmatch, parts)):
            raise ValueError(
                f"{shown(text)} is not a plan of {STAGES} stages of tokens; use epochs such as "
                f"120/90/90, shares such as {AUTO}, 'auto' or '{OFF}'"
            )
        shares = [Fraction(part) for part in parts]
        if all(part.isdecimal() for part in parts):
            if sum(shares) != epochs:
                raise ValueError(
                    f"{text} is {sum(shares)} epochs, but the training has {epochs}; use epochs "
                    f"that add up to {epochs}, or shares such as {AUTO}"
                )
            return cls(tuple(map(int, shares)))
        if sum(shares) != 1:
            total = float(sum(shares))
            raise ValueError(f"the shares of {text} add up to {total:.10g}; use shares of 1")
        # Exact fractions, rounded down: the last stage always keeps an epoch.
        starts = [0, *(math.floor(share * epochs) for share in accumulate(shares))]
        return cls(tuple(end - start for start, end in pairwise(starts)))

    def __str__(self) -> str:
        """``"120/90/90"``, or ``"off"`` without coarse stages; :meth:`parse` reads it."""
        return OFF if self.is_off else "/".join(map(str, self.epochs))

    @property
    def total(self) -> int:
        """Epochs of the whole training."""
        return sum(self.epochs)

    @property
    def is_off(self) -> bool:
        """Whether all epochs use full resolution."""
        return self.epochs[-1] == self.total > 0

    def stage(self, epoch: int) -> int:
        """The stage of an epoch, both from 0."""
        return next(i for i, end in enumerate(accumulate(self.epochs)) if epoch < end)


def saved(plan: TokenPlan, fractions: Sequence[float]) -> float:
    """The share of the training cost that a plan saves: ``1 − Σ share · fraction``.

    The fractions are the costs of an epoch of each stage relative to full resolution.
    """
    spent = math.fsum(e * f for e, f in zip(plan.epochs, fractions, strict=True))
    return 1 - spent / plan.total

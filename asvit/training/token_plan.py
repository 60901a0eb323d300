"""Which epochs of a training have coarse tokens, and what that saves."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, pairwise
from typing import Final, Self

from proxies.messages import shown

STAGES: Final = 3  # of tokens, as asvit.models.token_stages has them: coarse, middle, full
#: The published cost of each stage, in floating-point operations of a step over those at full
#: resolution, and what the most aggressive published plan saved: arXiv:2202.11921.
PUBLISHED_FRACTIONS: Final = (0.132, 0.285, 1.0)
PUBLISHED_SAVED_FLOPS: Final = 0.562
PUBLISHED_SAVED_TIME: Final = 0.411
#: Ours. At the published costs, 120, 90 and 90 epochs of 300 are the only plan of whole tens that
#: saves the published 56.2 %.
AUTO: Final = "0.4/0.3/0.3"
OFF: Final = "off"

# ASCII digits only, and few of them: float() and int() take more than people mean.
_EPOCHS: Final = re.compile(r"[0-9]{1,6}")
_SHARE: Final = re.compile(r"[0-9]{0,6}\.[0-9]{1,9}|[0-9]{1,6}\.?")
_FORMS: Final = f"epochs such as 120/90/90, shares such as {AUTO}, 'auto' or '{OFF}'"


@dataclass(frozen=True)
class TokenPlan:
    """How many epochs a network is trained at each stage of tokens.

    Attributes:
        epochs: Of each stage, coarse to fine. A stage may have none, but the last one must have
            some: the network is used at full resolution.

    Raises:
        ValueError: If there are not three whole numbers from 0, or the last one is 0.
    """

    epochs: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "epochs", tuple(self.epochs))  # lists, from JSON, are welcome
        if len(self.epochs) != STAGES:
            raise ValueError(
                f"{len(self.epochs)} stages of tokens, {self.epochs}; give the epochs of {STAGES}"
            )
        for count in self.epochs:
            if not isinstance(count, int) or isinstance(count, bool) or count < 0:
                raise ValueError(f"epochs of a stage must be whole numbers from 0, got {count!r}")
        if self.epochs[-1] == 0:
            raise ValueError(
                f"{self} leaves no epoch for tokens of full resolution; give the last stage 1 or "
                "more"
            )

    @classmethod
    def parse(cls, text: str, epochs: int) -> Self:
        """Read what was asked for.

        Args:
            text: The epochs of each stage, coarse to fine, as in ``"120/90/90"``; their shares of
                all epochs, as in ``"0.4/0.3/0.3"``, where a stage begins with the last whole epoch
                before its share does; ``"auto"`` for :data:`AUTO`; or ``"off"`` for full
                resolution all along.
            epochs: Of the whole training, at least 1.

        Raises:
            ValueError: If the text is anything else, its epochs are not those of the training, or
                its shares do not add up to 1.
        """
        if epochs < 1:
            raise ValueError(f"a training has 1 epoch or more, got {epochs}")
        if text == OFF:
            return cls((*(0,) * (STAGES - 1), epochs))
        parts = (AUTO if text == "auto" else text).split("/")
        if len(parts) == STAGES and all(map(_EPOCHS.fullmatch, parts)):
            plan = cls(tuple(map(int, parts)))
            if plan.total != epochs:
                raise ValueError(
                    f"{text} is {plan.total} epochs, but the training has {epochs}; use epochs "
                    f"that add up to {epochs}, or shares such as {AUTO}"
                )
            return plan
        if len(parts) != STAGES or not all(map(_SHARE.fullmatch, parts)):
            raise ValueError(
                f"{shown(text)} is no plan of {STAGES} stages of tokens; use {_FORMS}"
            )
        return cls(_whole_epochs(text, [Fraction(part) for part in parts], epochs))

    def __str__(self) -> str:
        """``"120/90/90"``, which :meth:`parse` reads; ``"off"`` with full resolution only."""
        return OFF if self.is_off else "/".join(map(str, self.epochs))

    @property
    def total(self) -> int:
        """All epochs."""
        return sum(self.epochs)

    @property
    def is_off(self) -> bool:
        """Whether tokens are of full resolution all along."""
        return self.epochs[-1] == self.total > 0

    @property
    def switches(self) -> tuple[int, ...]:
        """The epochs, from 0, that begin with other tokens than the one before had."""
        starts = accumulate(self.epochs[:-1])
        return tuple(sorted({start for start in starts if start > 0}))

    def stage(self, epoch: int) -> int:
        """The stage that an epoch belongs to, both from 0.

        Raises:
            ValueError: If the plan has no such epoch.
        """
        if not 0 <= epoch < self.total:
            raise ValueError(f"epoch {epoch} is none of {self.total}; they count from 0")
        return next(i for i, end in enumerate(accumulate(self.epochs)) if epoch < end)


def saved(plan: TokenPlan, fractions: Sequence[float]) -> float:
    """The share of a training's cost that a plan saves: ``1 − Σ share · fraction``.

    Args:
        plan: Epochs of each stage.
        fractions: What an epoch of each stage costs, as a fraction of one at full resolution:
            multiply-adds or time, measured (:func:`asvit.training.token_costs.measure_stages`) or
            published (:data:`PUBLISHED_FRACTIONS`).

    Raises:
        ValueError: If there is not one fraction for each stage.
    """
    if len(fractions) != len(plan.epochs):
        raise ValueError(
            f"{len(fractions)} fractions for {len(plan.epochs)} stages; give one each"
        )
    spent = math.fsum(e * f for e, f in zip(plan.epochs, fractions, strict=True))
    return 1 - spent / plan.total


def _whole_epochs(text: str, shares: Sequence[Fraction], epochs: int) -> tuple[int, ...]:
    """Epochs of each stage by its share; they add up to all of them."""
    if sum(shares) != 1:
        raise ValueError(f"the shares of {text} add up to {float(sum(shares)):g}; use shares of 1")
    # Rounded down, and exact: the last stage keeps an epoch, however few there are.
    starts = [0, *(math.floor(share * epochs) for share in accumulate(shares))]
    return tuple(end - start for start, end in pairwise(starts))

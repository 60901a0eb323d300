"""A number with its interval: what every statistic gives, and every table shows."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final, NamedTuple, Self

from asvit.core.codec import Nullable
from asvit.core.console import MISSING

#: Coverage of intervals, unless they say otherwise.
CONFIDENCE: Final = 0.95


class Interval(NamedTuple):
    """The ends of an interval, of :data:`CONFIDENCE`; both are NaN if there is none."""

    low: Nullable
    high: Nullable


NO_INTERVAL = Interval(math.nan, math.nan)


@dataclass(frozen=True)
class Estimate:
    """A number with the ends of its interval, which are NaN where there is none."""

    value: Nullable
    low: Nullable = math.nan
    high: Nullable = math.nan
    level: float = CONFIDENCE  #: coverage of the interval
    cases: int = 0  #: how many pairs it compares, such as pictures that both tested; 0 without
    how: str = ""  #: what these are
    p: Nullable = math.nan  #: of McNemar's exact test of no difference, for accuracies in pairs
    digits: int = 3  #: decimals that are shown; the ends have one less
    sign: str = ""  #: "+" where positive numbers have a sign, too

    @property
    def interval(self) -> Interval:
        """The ends."""
        return Interval(self.low, self.high)

    @property
    def per_cent(self) -> Self:
        """A share, or a difference of shares, in per cent."""
        value, low, high = (100 * number for number in (self.value, *self.interval))
        return replace(self, value=value, low=low, high=high, digits=1)

    def __str__(self) -> str:
        """As ``0.512 [0.38, 0.59]``; of another coverage than 95 % with that behind it."""
        if math.isnan(self.value):
            return MISSING
        estimate, ends = f"{self.value:{self.sign}.{self.digits}f}", max(1, self.digits - 1)
        if math.isnan(self.low):
            return estimate
        level = "" if self.level == CONFIDENCE else f" ({100 * self.level:g} %)"
        low, high = (f"{end:{self.sign}.{ends}f}" for end in self.interval)
        return f"{estimate} [{low}, {high}]{level}"

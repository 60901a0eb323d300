"""The hours of a design, and the shares of its parts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

#: Of the hours, where there is time to choose. A warm start takes its share from that of the
#: training. Of ten designs of 15 minutes none ended in another network than the default.
SHARES = {"search": 0.05, "last round": 0.08, "training": 0.83, "rest": 0.04}
_FRACTALS = 0.1
_TRAININGS = SHARES["last round"] + SHARES["training"]
AFTERWARDS = 30.0  # seconds that tests, copies and latencies take at least


@dataclass(frozen=True)
class Hours:
    """The time of a design, in seconds; infinite without a number of hours."""

    hours: float | None
    elapsed: Callable[[], float]  # seconds of the whole design so far

    @property
    def whole(self) -> float:
        """All of it."""
        return math.inf if self.hours is None else 3600 * self.hours

    def of(self, part: str) -> float:
        """The share of a part in all of it."""
        return SHARES[part] * self.whole

    @property
    def rest(self) -> float:
        """What tests, copies and latencies have."""
        return max(self.of("rest"), AFTERWARDS)

    @property
    def remaining(self) -> float:
        """What is left of all of it; negative of a design that is late."""
        return self.whole - self.elapsed()

    @property
    def left(self) -> float:
        """What is left for the trainings."""
        if self.hours is None:
            return math.inf
        return max(1.0, self.remaining - self.rest)

    def left_for(self, part: str) -> float:
        """What is left for the last round, the training, or trainings on fractals."""
        return {**SHARES, "fractals": _FRACTALS}[part] / _TRAININGS * self.left

"""The measurement of one architecture, as the study keeps it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from asvit.core.codec import Nullable

if TYPE_CHECKING:
    from proxies import Score

MEASURED = "measured"  # user attribute of a trial


@dataclass(frozen=True)
class Measurement:
    """Size and measures of one architecture.

    Attributes:
        params: Parameters.
        macs: Multiply-adds of one image.
        values: Measure to value; NaN where it failed.
        reasons: Measure to why it failed, for those that did.
    """

    params: int
    macs: int
    values: Mapping[str, Nullable]
    reasons: Mapping[str, str]

    @classmethod
    def from_scores(cls, params: int, macs: int, scores: Mapping[str, Score]) -> Measurement:
        """Take the mean values of ``scores``; a value that is not finite has failed."""
        failed = {name: score for name, score in scores.items() if not math.isfinite(score.value)}
        return cls(
            params=params,
            macs=macs,
            values={
                name: math.nan if name in failed else float(score.value)
                for name, score in scores.items()
            },
            reasons={
                name: " ".join((score.reason or f"the value is {score.value}").split())
                for name, score in failed.items()
            },
        )

    @property
    def reason(self) -> str:
        """Every failure in one line; empty if there was none."""
        return "; ".join(f"{name}: {why}" for name, why in self.reasons.items())


# Measures the architecture of a text; equal texts give equal measurements.
Evaluate = Callable[[str], Measurement]
# Measures several architectures, in their order; the first are ready before the last are begun.
EvaluateAll = Callable[[Sequence[Any]], Iterable[Measurement]]


def one_by_one(evaluate: Evaluate) -> EvaluateAll:
    """Measure several architectures by their texts, each when it is asked for."""
    return lambda architectures: map(evaluate, map(str, architectures))

"""What the figures of a search show, as plain rows; JSON, CSV, HTML and tests see the same ones.

A step is the place of a trial among those measured, counted from 1. A trial that failed keeps its
place, so that gaps in a curve are where the failures were.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from asvit.search.front import non_dominated
from asvit.search.reward import MovingBaseline

if TYPE_CHECKING:
    from asvit.search import TrialRow
    from scaling.ranking import Better

WINDOW = 20  # trials; also the window over which the search scales its rewards
CHOICE_WINDOW = 50  # trials a choice's frequency is taken over


@dataclass(frozen=True)
class EntropyRow:
    """Joint entropy of the policy, in nats, when it drew the architecture of ``step``."""

    step: int
    entropy: float


@dataclass(frozen=True)
class RewardRow:
    """Reward of one step and the policy's baseline with it: a bias-corrected moving average."""

    step: int
    reward: float
    average: float


@dataclass(frozen=True)
class MeasureRow:
    """One measure of one architecture, and its median over the last ``WINDOW`` trials.

    ``value`` is NaN where the measure failed, ``median`` where no value of the window is there.
    """

    step: int
    measure: str
    value: float
    median: float


@dataclass(frozen=True)
class PointRow:
    """An architecture in the plane of two measures, and whether any other is better in both."""

    step: int
    architecture: str
    x: float
    y: float
    on_front: bool


@dataclass(frozen=True)
class ChoiceRow:
    """Share of the last ``CHOICE_WINDOW`` architectures with ``choice`` in ``dimension``."""

    step: int
    dimension: str
    choice: str
    frequency: float


def entropy_rows(trials: Sequence[TrialRow]) -> list[EntropyRow]:
    """The policy's entropy over steps; empty for a controller that has none."""
    return [
        EntropyRow(step, trial.entropy)
        for step, trial in enumerate(trials, 1)
        if math.isfinite(trial.entropy)
    ]


def reward_rows(trials: Sequence[TrialRow]) -> list[RewardRow]:
    """Rewards over steps with their moving average; empty for a controller without rewards."""
    baseline = MovingBaseline()
    return [
        RewardRow(step, trial.reward, baseline.update(trial.reward))
        for step, trial in enumerate(trials, 1)
        if math.isfinite(trial.reward)
    ]


def measure_rows(trials: Sequence[TrialRow], measures: Sequence[str]) -> list[MeasureRow]:
    """Every measure over steps with its moving median, measure by measure."""
    rows = []
    for name in measures:
        values = [trial.values.get(name, math.nan) for trial in trials]
        for step, value in enumerate(values, 1):
            window = [v for v in values[max(0, step - WINDOW) : step] if math.isfinite(v)]
            middle = statistics.median(window) if window else math.nan
            rows.append(MeasureRow(step, name, value, middle))
    return rows


def point_rows(trials: Sequence[TrialRow], better: Mapping[str, Better]) -> list[PointRow]:
    """Architectures in the plane of the first two measures of ``better``; failures are left out.

    Args:
        trials: Measured trials in order.
        better: Measure to its direction, ``"higher"`` or ``"lower"``; a measure that is merely
            reported decides nothing, so every point that is best in the other one is on the front.

    Returns:
        One row per trial with both values, in the order of the steps.
    """
    if len(better) < 2:
        return []
    (x_name, x_better), (y_name, y_better) = list(better.items())[:2]
    found = [
        (
            step,
            trial.architecture,
            trial.values.get(x_name, math.nan),
            trial.values.get(y_name, math.nan),
        )
        for step, trial in enumerate(trials, 1)
    ]
    finite = [point for point in found if math.isfinite(point[2]) and math.isfinite(point[3])]
    best = non_dominated([(x, y) for _, _, x, y in finite], (x_better, y_better))
    return [PointRow(*point, on_front=bool(on)) for point, on in zip(finite, best, strict=True)]


def choice_rows(
    trials: Sequence[TrialRow],
    encode: Callable[[str], Mapping[str, object]],
    dimensions: Mapping[str, Sequence[object]],
    *,
    most: int = 100,
) -> list[ChoiceRow]:
    """How often each choice was drawn of late, at no more than ``most`` evenly spaced steps.

    Args:
        trials: Measured trials in order.
        encode: Architecture text to its choice in each dimension.
        dimensions: Dimension to its choices, in their order.
        most: Steps to report at most; the last one is always among them.
    """
    encoded = [encode(trial.architecture) for trial in trials]
    count = len(encoded)
    steps = sorted({round((i + 1) * count / min(count, most)) for i in range(min(count, most))})
    rows = []
    for name, choices in dimensions.items():
        for step in steps:
            window = encoded[max(0, step - CHOICE_WINDOW) : step]
            drawn = Counter(str(params[name]) for params in window)
            rows += [
                ChoiceRow(step, name, str(choice), drawn[str(choice)] / len(window))
                for choice in choices
            ]
    return rows

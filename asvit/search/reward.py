"""What the policy is rewarded for: the windowed change of the measures, against a moving baseline.

All three classes are fed the measured architectures one by one, in order, and are rebuilt by
feeding them the same sequence again.

References:
    Chen et al. 2022, "Auto-scaling Vision Transformers without Training", arXiv:2202.11921.
"""

import math
from collections import deque
from collections.abc import Mapping

from scaling.ranking import Directions

_SIGN = {"higher": 1.0, "lower": -1.0}
_WINDOW = 20  # values of a range
_EPSILON = 1e-6  # beside it
_PAST = 0.9  # weight of the past in a moving average


class WorstSoFar:
    """Stand-in for measures that failed: the worst valid value seen so far, per objective."""

    def __init__(self, better: Directions) -> None:
        self._better = dict(better)
        self._worst: dict[str, float] = {}

    def fill(self, values: Mapping[str, float]) -> dict[str, float]:
        """Take in one architecture's values and return the objectives, every failure filled.

        A value that is not finite is a failure: it has the worst value seen so far, or infinity
        in the bad direction while no valid value of that objective is known.
        """
        filled = {}
        for name, way in self._better.items():
            value = values[name]
            if math.isfinite(value):
                worse = min if way == "higher" else max
                self._worst[name] = worse(self._worst.get(name, value), value)
                filled[name] = value
            else:
                # Infinitely bad: no finite number would be known to be worse.
                filled[name] = self._worst.get(name, -math.inf * _SIGN[way])
        return filled


class WindowedReward:
    """Sum over the objectives of their step's change, as a share of their recent range.

    For one objective the change of step t is ``(m_t - m_{t-1}) / (max - min + 1e-6)`` with the
    range taken over the last 20 values, the newest included. It counts as it is where
    higher is better and negated where lower is better. An objective without a value two steps in
    a row (at the first step, and while it has only failed) contributes 0.
    """

    def __init__(self, better: Directions) -> None:
        self._better = dict(better)
        self._recent: dict[str, deque[float]] = {name: deque(maxlen=_WINDOW) for name in better}

    def update(self, values: Mapping[str, float]) -> float:
        """Take in one architecture's (filled) values and return its reward, dimensionless."""
        return sum(
            _SIGN[way] * self._change(name, values[name]) for name, way in self._better.items()
        )

    def _change(self, name: str, value: float) -> float:
        if not math.isfinite(value):
            return 0.0
        recent = self._recent[name]
        previous = recent[-1] if recent else value
        recent.append(value)
        return (value - previous) / (max(recent) - min(recent) + _EPSILON)


class MovingBaseline:
    """Bias-corrected exponential moving average of the rewards."""

    def __init__(self) -> None:
        self._average = 0.0
        self._past = 1.0  # the weight of the past to the power of the number of rewards

    def update(self, reward: float) -> float:
        """Take in ``reward`` and return the average with it included."""
        self._average = _PAST * self._average + (1 - _PAST) * reward
        self._past *= _PAST
        return self._average / (1 - self._past)

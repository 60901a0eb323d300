"""Accuracies as normal scores, and back."""

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]


class NormalScores:
    """The map between accuracies and the normal scores of their ranks, of variance 1.

    Ranks keep a few networks that failed to train from outweighing all others. Between accuracies
    the map is linear, and beyond them it goes on with the slope of the whole.
    """

    def __init__(self, accuracies: Array) -> None:
        n = len(accuracies)
        scores = stats.norm.ppf((stats.rankdata(accuracies) - 0.5) / n)
        self.spread = float(accuracies.std())  #: one unit of score is about as much
        #: Of the accuracies given, ``[rows]``; equal ones have equal scores.
        self.scores: Array = scores / scores.std() if self.spread > 0 else np.zeros(n)
        self._accuracies, first = np.unique(accuracies, return_index=True)
        self._scores = self.scores[first]

    def accuracies(self, scores: Array) -> Array:
        """The accuracies that stand at these scores, per cent, of any shape."""
        low, high = self._scores[0], self._scores[-1]
        above = self._beyond(scores - high, 100 - self._accuracies[-1])
        below = self._beyond(low - scores, self._accuracies[0])
        found: Array = np.interp(scores, self._scores, self._accuracies) + above - below
        return found

    def _beyond(self, away: Array, room: float) -> Array:
        """Points of accuracy at scores ``away`` from the outermost one; less than ``room``."""
        if room <= 0:
            return np.zeros_like(away)
        found: Array = -room * np.expm1(-self.spread * np.maximum(away, 0) / room)
        return found

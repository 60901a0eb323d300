"""Which architecture to train next: what a predictor of accuracy learns most from, or hopes for.

The choice follows from what was trained before, so the same rules can be simulated on tables.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import cdist

Array = NDArray[np.float64]

# Before any repeat: a quarter of the variance of accuracies is that between seeds, as sure as two
# repeats would tell it.
PRIOR_SHARE, PRIOR_REPEATS = 0.25, 2


class Fitted(Protocol):
    """A predictor of accuracy, as :class:`asvit.Predictor`."""

    def fit(self, architectures: Sequence[str], accuracies: ArrayLike, noise: ArrayLike) -> Self:
        """Learn from trainings, with the standard deviation between training seeds."""

    def predict(self, architectures: Sequence[str]) -> tuple[Array, Array]:
        """Expected accuracies and their standard deviations, ``[architectures]``."""


@dataclass(frozen=True)
class Acquisition:
    """Chooses trainings, one after another.

    After the first ones, the next one is that of the highest upper confidence bound: prediction
    plus ``bound`` standard deviations. Every ``again``-th training repeats one of those trained,
    with another seed; the others go to new candidates. What is chosen but not trained yet counts
    as trained, with the accuracy that is predicted for it ("Kriging believer"), so that the
    choices of a batch differ. A longer search begins as a shorter one.

    References:
        Srinivas et al. 2010, "Gaussian process optimization in the bandit setting",
        arXiv:0912.3995.
        Ginsbourger et al. 2010, "Kriging is well-suited to parallelize optimization".
    """

    first: int = 6  #: trainings before the predictor is asked
    again: int = 4  #: every how-manieth training after them repeats a favourite
    bound: float = 1.0  #: standard deviations above the prediction

    def choose(
        self,
        predictor: Callable[[], Fitted],
        trainings: Sequence[tuple[str, float]],
        pending: Sequence[str],
        candidates: Sequence[str],
        *,
        place: int,
        allowed: Callable[[str], bool] = lambda _text: True,
    ) -> str:
        """The architecture of training ``place``, from 0.

        ``trainings`` are architectures with accuracies, ``pending`` those chosen since, in their
        order. It is one of the distinct ``candidates``, or trained before; where none is
        ``allowed``, which few are asked, it is the favourite of those trained.
        """
        texts = [text for text, _ in trainings]
        values = [value for _, value in trainings]
        noise = seed_noise(trainings)
        fitted = predictor().fit(texts, values, noise)
        if pending:
            believed, _ = fitted.predict(pending)
            fitted = predictor().fit([*texts, *pending], [*values, *believed], noise)
        trained = dict.fromkeys([*texts, *pending])
        fresh = [text for text in candidates if text not in trained]
        turns = [fresh, [*trained]]
        if (place - self.first) % self.again == self.again - 1:
            turns.reverse()
        for left in turns:
            while left:
                best = self._highest(fitted, left)
                if allowed(best):
                    return best
                left.remove(best)
        return self._highest(fitted, [*trained])

    def _highest(self, fitted: Fitted, texts: Sequence[str]) -> str:
        mean, std = fitted.predict(texts)
        return texts[int(np.argmax(mean + self.bound * std))]


def seed_noise(trainings: Sequence[tuple[str, float]]) -> float:
    """Standard deviation of accuracy between training seeds, points; a training has a text.

    It is pooled over architectures that were trained several times, with a prior, as a few of
    them say little.
    """
    squares, repeats = pooled_squares(trainings)
    prior = PRIOR_SHARE * float(np.var([value for _, value in trainings]))
    return float(np.sqrt((squares + PRIOR_REPEATS * prior) / (repeats + PRIOR_REPEATS)))


def pooled_squares(trainings: Sequence[tuple[str, float]]) -> tuple[float, int]:
    """The sum of squared deviations from each architecture's mean, and its degrees of freedom."""
    groups: dict[str, list[float]] = {}
    for text, value in trainings:
        groups.setdefault(text, []).append(value)
    # Of equal values NumPy's variance may be rounding, which would pass for what seeds change.
    differing = (values for values in groups.values() if len(set(values)) > 1)
    squares = sum(float(np.var(values)) * len(values) for values in differing)
    return squares, len(trainings) - len(groups)


def farthest(points: Array, others: Array) -> int:
    """Index of the point whose nearest of ``others`` is farthest; the first one of equals.

    Both are ``[points, features]``. With no others, the point nearest to the centre is taken.
    """
    if not len(others):
        return int(np.argmin(((points - points.mean(0)) ** 2).sum(1)))
    return int(np.argmax(cdist(points, others).min(1)))

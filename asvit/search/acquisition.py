"""Which architecture to train next: what a predictor of accuracy learns most from, or hopes for.

The choice follows from what was trained before and from a random generator, so that a search that
was stopped goes on identically, and the same rules can be simulated on tables of trained networks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import cdist
from scipy.special import ndtr

Array = NDArray[np.float64]

PRIOR_REPEATS = 4


class Fitted(Protocol):
    """A predictor of accuracy, as :class:`asvit.Predictor`."""

    def fit(self, architectures: Sequence[str], accuracies: ArrayLike, noise: ArrayLike) -> Fitted:
        """Learn from trainings, with the standard deviation between training seeds."""

    def predict(self, architectures: Sequence[str]) -> tuple[Array, Array]:
        """Expected accuracies and their standard deviations, ``[architectures]``."""


@dataclass(frozen=True)
class Acquisition:
    """Chooses trainings, one after another.

    The first ones are spread over the space. After them every ``again``-th training repeats a
    favourite with another seed: the architecture with the highest upper confidence bound among
    those trained, which is lower the more often one was trained. The others go to the candidate
    with the largest expected improvement over the best prediction among those trained. What is
    chosen but not trained yet counts as trained, with the accuracy that is predicted for it
    ("Kriging believer"), so that the choices of a batch differ.

    The choice does not depend on how many trainings there will be: a longer search begins as a
    shorter one.

    Attributes:
        first: Trainings before the predictor is asked.
        again: Every how-manieth training after them repeats a favourite.
        bound: Standard deviations above the prediction at which favourites are compared.

    References:
        Jones et al. 1998, "Efficient global optimization of expensive black-box functions".
        Ginsbourger et al. 2010, "Kriging is well-suited to parallelize optimization".
    """

    first: int = 10
    again: int = 4
    bound: float = 1.0

    def choose(
        self,
        predictor: Callable[[], Fitted],
        known: Sequence[tuple[str, float]],
        pending: Sequence[str],
        candidates: Sequence[str],
        *,
        place: int,
        repeatable: Callable[[str], bool] = lambda _text: True,
    ) -> str:
        """The architecture of training ``place``, from 0.

        Args:
            predictor: Makes a predictor.
            known: Trained architectures with their accuracies, one for each training.
            pending: Those chosen since, in their order.
            candidates: Distinct architectures to choose among, beside those known.
            place: How many trainings were chosen before.
            repeatable: Whether an architecture may be trained again.
        """
        texts = [text for text, _ in known]
        values = [value for _, value in known]
        noise = seed_noise(known)
        fitted = predictor().fit(texts, values, noise)
        if pending:
            believed, _ = fitted.predict(pending)
            fitted = predictor().fit([*texts, *pending], [*values, *believed], noise)
        trained = list(dict.fromkeys([*texts, *pending]))
        mean, std = fitted.predict(trained)
        seen = set(trained)
        fresh = [text for text in candidates if text not in seen]
        if not fresh or (place - self.first) % self.again == self.again - 1:
            allowed = np.array([repeatable(text) for text in trained])
            if allowed.any() or not fresh:
                return trained[int(np.argmax(np.where(allowed, mean + self.bound * std, -np.inf)))]
        return fresh[int(np.argmax(self.worth(*fitted.predict(fresh), mean.max())))]

    def worth(self, mean: Array, std: Array, best: float) -> Array:
        """What training new architectures promises, ``[architectures]``; the highest is chosen.

        Args:
            mean: Predicted accuracies.
            std: Their standard deviations.
            best: The highest prediction among architectures that were trained.
        """
        return improvement(mean, std, best)


def seed_noise(known: Sequence[tuple[str, float]]) -> float:
    """Standard deviation of accuracy between training seeds, points.

    It is pooled over architectures that were trained several times. As a few of them say little,
    a third of the variance of all accuracies counts as :data:`PRIOR_REPEATS` more repeats.

    Args:
        known: Trained architectures with their accuracies, one for each training.
    """
    groups: dict[str, list[float]] = {}
    for text, value in known:
        groups.setdefault(text, []).append(value)
    means = [float(np.mean(values)) for values in groups.values()]
    squares = sum(
        sum((value - mean) ** 2 for value in values)
        for mean, values in zip(means, groups.values(), strict=True)
    )
    repeats = len(known) - len(groups)
    prior = float(np.var([value for _, value in known])) / 3
    return float(np.sqrt((squares + PRIOR_REPEATS * prior) / (repeats + PRIOR_REPEATS)))


def improvement(mean: Array, std: Array, best: float) -> Array:
    """Expected improvement over ``best`` of normal values, ``[values]``."""
    above = (mean - best) / np.maximum(std, 1e-12)
    density = np.exp(-(above**2) / 2) / np.sqrt(2 * np.pi)
    found: Array = (mean - best) * ndtr(above) + std * density
    return found


def farthest(points: Array, others: Array) -> int:
    """Index of the point whose nearest of ``others`` is farthest; the first one of equals.

    Args:
        points: ``[points, features]``.
        others: ``[others, features]``; with none, the point nearest to the centre is taken.
    """
    if not len(others):
        return int(np.argmin(((points - points.mean(0)) ** 2).sum(1)))
    return int(np.argmax(cdist(points, others).min(1)))

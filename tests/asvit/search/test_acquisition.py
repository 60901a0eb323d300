"""The rules that choose trainings, with predictors whose answers are known."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from asvit.search.acquisition import (
    PRIOR_REPEATS,
    Acquisition,
    farthest,
    seed_noise,
)

Array = NDArray[np.float64]


class Known:
    """A predictor that knows means and deviations, and remembers what it was shown."""

    def __init__(self, answers: Mapping[str, tuple[float, float]]) -> None:
        self._answers = answers
        self.shown: list[list[tuple[str, float]]] = []

    def __call__(self) -> "Known":
        return self

    def fit(
        self, architectures: Sequence[str], accuracies: ArrayLike, noise: ArrayLike
    ) -> "Known":
        values = np.asarray(accuracies, dtype=float)
        self.shown.append(list(zip(architectures, values.tolist(), strict=True)))
        return self

    def predict(self, architectures: Sequence[str]) -> tuple[Array, Array]:
        found = np.array([self._answers[text] for text in architectures])
        return found[:, 0], found[:, 1]


ANSWERS = {
    "a": (70.0, 1.0),
    "b": (69.0, 3.0),
    "c": (60.0, 1.0),
    "d": (69.0, 2.0),
    "e": (50.0, 0.1),
    "f": (70.0, 0.1),
}
TRAINED = [("a", 71.0), ("b", 68.0)]
RULES = Acquisition(first=2, again=3)


def test_a_new_one_is_that_of_the_highest_bound() -> None:
    known = Known(ANSWERS)
    assert RULES.choose(known, TRAINED, [], ["c", "d", "e", "f", "a"], place=2) == "d"
    greedy = Acquisition(first=2, again=3, bound=0.0)
    assert greedy.choose(Known(ANSWERS), TRAINED, [], ["c", "d", "f"], place=2) == "f"
    assert known.shown == [TRAINED]


def test_what_is_pending_counts_as_trained_with_its_prediction() -> None:
    known = Known(ANSWERS)
    assert RULES.choose(known, TRAINED, ["d"], ["c", "d", "e"], place=3) == "c"
    assert known.shown == [TRAINED, [*TRAINED, ("d", 69.0)]]


def test_the_noise_of_seeds_is_that_of_repeats_with_a_prior() -> None:
    assert seed_noise([("a", 60.0), ("b", 66.0)]) == pytest.approx(math.sqrt(9 / 4))
    rng = np.random.default_rng(0)
    many = [(str(n), 70 + rng.normal(0, 2)) for n in [*range(10)] * 40]
    assert seed_noise(many) == pytest.approx(2, rel=0.05)
    again = [("a", 60.0), ("a", 62.0)]
    assert seed_noise(again) == pytest.approx(math.sqrt((2 + PRIOR_REPEATS / 4) / 3))


def test_the_farthest_point_has_the_farthest_nearest_neighbour() -> None:
    points = np.array([[0.0, 0.0], [0.4, 0.5], [1.0, 1.0], [0.0, 1.0]])
    assert farthest(points, np.empty((0, 2))) == 1
    assert farthest(points, np.array([[0.0, 0.0], [1.0, 0.9]])) == 3

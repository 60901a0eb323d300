"""Aging evolution over a categorical space, as an Optuna sampler.

References:
    Real et al. 2019, "Regularized Evolution for Image Classifier Architecture Search",
    arXiv:1802.01548.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from asvit.search.sampler import measured_trials, place_of
from asvit.search.seeds import seed_for
from asvit.spaces.base import Choice
from scaling.ranking import Better, rank_sums


class AgingEvolutionSampler(BaseSampler):
    """Mutates the best of a few members of the youngest population; the oldest members die.

    Fitness is the sum of a member's dense ranks over the objectives within the population. The
    population is the last ``population`` measured trials, so there is no state to keep.

    Args:
        dimensions: Dimension of the space to its choices.
        better: Objective to its direction, in the order of the study's values.
        seed: Seed of the run.
        batch: Architectures drawn before any of them has been measured.
        population: Members alive; as many architectures are drawn at random first.
        tournament: Members that one parent is chosen from.
    """

    def __init__(
        self,
        dimensions: Mapping[str, Sequence[Choice]],
        better: Mapping[str, Better],
        *,
        seed: int,
        batch: int = 1,
        population: int = 50,
        tournament: int = 10,
    ) -> None:
        self._dimensions = {name: tuple(choices) for name, choices in dimensions.items()}
        self._better = dict(better)
        self._seed = seed
        self._batch = batch
        self._population = population
        self._tournament = tournament

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """The whole space: a child is a whole architecture."""
        return {
            name: CategoricalDistribution(choices) for name, choices in self._dimensions.items()
        }

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Draw at random until the population is full, then mutate the winner of a tournament."""
        place = place_of(study, trial)
        rng = np.random.default_rng(seed_for(self._seed, "evolution", place))
        # What was measured of the same batch may not count: after a kill more of it is.
        trials = measured_trials(study)[: place - place % self._batch]
        if len(trials) < self._population:
            return {
                name: choices[rng.integers(len(choices))]
                for name, choices in self._dimensions.items()
            }
        return self._mutate(self._parent(trials[-self._population :], rng), rng)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Refuse a parameter that the space does not have.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            f"the space has no dimension {param_name!r}; it has {', '.join(self._dimensions)}"
        )

    def _parent(self, alive: Sequence[FrozenTrial], rng: np.random.Generator) -> dict[str, Any]:
        columns = {
            name: [trial.values[place] for trial in alive]
            for place, name in enumerate(self._better)
        }
        sums = rank_sums(columns, self._better)
        entrants = rng.choice(len(alive), size=self._tournament, replace=False)
        winner: FrozenTrial = alive[min(entrants, key=lambda place: sums[place])]
        return winner.params

    def _mutate(self, parent: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        changeable = [name for name, choices in self._dimensions.items() if len(choices) > 1]
        if not changeable:
            return dict(parent)
        name = changeable[rng.integers(len(changeable))]
        others = [choice for choice in self._dimensions[name] if choice != parent[name]]
        return {**parent, name: others[rng.integers(len(others))]}

"""Optuna's own samplers, made to go on identically after a kill."""

from collections.abc import Callable
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, NSGAIISampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from asvit.search.sampler import Params, Space, active_trials, draws_before
from asvit.search.seeds import draw_seed


class ReseededSampler(BaseSampler):
    """Draws each trial with a fresh sampler, seeded by how many trials come before it.

    Trials that were outside the limits count, too, or the next one would be the same.

    All that the library's samplers know beside their random state is in the study, so nothing is
    lost by making a new one.

    Args:
        make: Seed (below 2^32) to sampler.
        seed: Seed of the run.
        repeats: Trials that take each architecture, one after the other.
    """

    def __init__(self, make: Callable[[int], BaseSampler], *, seed: int, repeats: int = 1) -> None:
        self._make = make
        self._seed = seed
        self._repeats = repeats
        self._again: Params | None = None  # the choices that the trial repeats
        self._sampler = make(draw_seed(seed, "trial", 0))

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Make the sampler of this trial."""
        before = [other for other in active_trials(study) if other.number < trial.number]
        self._again = before[-1].params if len(before) % self._repeats else None
        self._sampler = self._make(draw_seed(self._seed, "trial", draws_before(study, trial)))
        self._sampler.before_trial(study, trial)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> Space:
        """As the sampler of this trial does."""
        return self._sampler.infer_relative_search_space(study, trial)

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: Space) -> Params:
        """As the sampler of this trial does."""
        return self._sampler.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, name: str, distribution: BaseDistribution
    ) -> Any:
        """As the sampler of this trial does, or as the trial before."""
        if self._again is not None:
            return self._again[name]
        return self._sampler.sample_independent(study, trial, name, distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, *outcome: Any) -> None:
        """As the sampler of this trial does."""
        self._sampler.after_trial(study, trial, *outcome)


class OrderedNSGAIISampler(NSGAIISampler):
    """NSGA-II whose parents stand in one order whether they were just chosen or read back.

    The library draws parents by their place in a list that is sorted by merit in the trial that
    chooses them and by number in all later ones, which a kill in between would tell apart.
    """

    def select_parent(self, study: Study, generation: int) -> list[FrozenTrial]:
        """The parents of ``generation``, by number."""
        parents = super().select_parent(study, generation)
        return sorted(parents, key=lambda trial: trial.number)

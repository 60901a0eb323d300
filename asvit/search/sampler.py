"""Our controllers, as Optuna samplers: they sample and learn, and never evaluate.

They store no state: it is rebuilt from the measured trials, in their order. A draw is seeded by
the number of architectures before it, so a killed search continues as if it had not been killed.
Trial numbers would not work as seeds: a trial killed in flight has used one.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any
from zlib import crc32

import numpy as np
import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from asvit.search.controllers import register
from asvit.search.limits import Limits
from asvit.search.policy import (
    Indices,
    JointCategoricalPolicy,
    MovingBaseline,
    WindowedReward,
    reinforce_step,
)
from asvit.search.settings import SearchSettings
from asvit.spaces.base import Choice
from scaling.ranking import Directions, rank_sums

MEASURED = "measured"  # user attribute of a trial: its architecture and measurement
UNIFORM = "drawn uniformly"  # user attribute of a trial that was, whatever had been measured
_INIT, _DRAW, _BEYOND = "policy logits", "policy draw", "beyond the policy"
_OWN_DRAWS = 200  # of a controller, before uniform draws take their place
_OWN_TIMED = 50  # of them where each may have to be timed
_LEARNING_RATE = 0.08  # of Adam
_POPULATION = 50  # of the evolution
_TOURNAMENT = 10  # members of it, of which the best one is the parent

Dimensions = Mapping[str, Sequence[Choice]]
Params = dict[str, Any]  # a choice in every dimension
Space = dict[str, BaseDistribution]  # the dimensions as Optuna takes them


def draw_seed(run_seed: int, purpose: str, count: int) -> int:
    """A seed below 2^32 for one draw of a run, unrelated to those of its other draws.

    ``purpose`` is what is drawn, ``count`` how many architectures were measured before.
    """
    sequence = np.random.SeedSequence([run_seed, crc32(purpose.encode()), count])
    return int(sequence.generate_state(1)[0])


def measured_trials(study: Study) -> list[FrozenTrial]:
    """The trials of ``study`` that were measured, in the order in which they were asked for."""
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def trials_before(
    study: Study, trial: FrozenTrial | Trial, *more: TrialState
) -> list[FrozenTrial]:
    """The trials before ``trial`` that were measured or are in flight, or in ``more`` states."""
    states = (TrialState.COMPLETE, TrialState.RUNNING, *more)
    trials = study.get_trials(deepcopy=False, states=states)
    return [other for other in trials if other.number < trial.number]


def draws_before(study: Study, trial: FrozenTrial) -> int:
    """How many architectures come before ``trial``, those outside the limits among them."""
    return len(trials_before(study, trial, TrialState.PRUNED))


def distributions(dimensions: Dimensions) -> Space:
    """The dimensions of a space as Optuna takes them."""
    return {name: CategoricalDistribution(choices) for name, choices in dimensions.items()}


class NothingNewError(Exception):
    """Raised by a sampler that has no new architecture: the search ends."""


class SpaceSampler(BaseSampler):
    """Base of samplers that draw all dimensions of a space together.

    The settings' ``batch`` architectures are drawn before any of them has been measured.
    """

    limits: Limits | None = None  #: what an architecture has to be within; None for any
    #: The dimensions that count for a choice in each; None where all of them do.
    active: Callable[[Mapping[str, Any]], Sequence[str]] | None = None

    def __init__(
        self, dimensions: Dimensions, better: Directions, settings: SearchSettings
    ) -> None:
        self.dimensions = {name: tuple(choices) for name, choices in dimensions.items()}
        self._better, self._settings = dict(better), settings
        #: How architectures were drawn: user attributes that the trials get, by their numbers.
        self.notes: dict[int, dict[str, Any]] = {}

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> Space:
        """The whole space."""
        return distributions(self.dimensions)

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: Space) -> Params:
        """An architecture."""
        return self.sample(study, trial)

    @abstractmethod
    def sample(self, study: Study, trial: FrozenTrial) -> Params:
        """The architecture of a trial."""

    def sample_independent(
        self, study: Study, trial: FrozenTrial, name: str, distribution: BaseDistribution
    ) -> Any:
        """Refuse a parameter that the space does not have, by a ValueError."""
        raise ValueError(
            f"the space has no dimension {name!r}; it has {', '.join(self.dimensions)}"
        )

    def _rng(self, purpose: str, place: int) -> np.random.Generator:
        """The generator of a draw, for an architecture with so many before it."""
        return np.random.default_rng(draw_seed(self._settings.seed, purpose, place))

    def _within(
        self, trial: FrozenTrial, draw: Callable[[], Params], rng: np.random.Generator
    ) -> Params:
        """The first draw within the limits; after many that are not, a uniform one, marked."""
        if self.limits is None:
            return draw()
        most = _OWN_TIMED if self._settings.max_latency else _OWN_DRAWS
        own = ((draw(), True) for _ in range(most))
        draws = chain(own, iter(lambda: (self._draw(rng), False), None))
        params, is_own = self.limits.first(lambda: next(draws), itemgetter(0))
        if not is_own:
            self.notes[trial.number] = {UNIFORM: True}
        return params

    def _draw(self, rng: np.random.Generator) -> Params:
        """An architecture drawn uniformly."""
        return {
            name: choices[rng.integers(len(choices))] for name, choices in self.dimensions.items()
        }

    def _mutate(
        self, parent: Mapping[str, Any], rng: np.random.Generator, names: Iterable[str]
    ) -> Params:
        """``parent`` with another choice in one dimension of ``names``."""
        changeable = [name for name in names if len(self.dimensions[name]) > 1]
        if not changeable:
            return dict(parent)
        name = changeable[rng.integers(len(changeable))]
        others = [choice for choice in self.dimensions[name] if choice != parent[name]]
        return {**parent, name: others[rng.integers(len(others))]}


@register("reinforce", "policy gradient on a joint categorical policy", paper="arXiv:2202.11921")
class ReinforceSampler(SpaceSampler):
    """Samples whole architectures from a joint policy and updates it with each measured one.

    An update, by Adam, takes the mean of the losses of a batch. A value that is infinite stands
    for an objective that was never measured and moves nothing. Uniform draws, which take the place
    of the policy's where limits refuse too many, have no part in an update; the study marks them.

    References:
        Williams 1992; Chen et al. 2022, arXiv:2202.11921.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        sizes = [len(choices) for choices in self.dimensions.values()]
        self._policy = JointCategoricalPolicy(sizes, generator=self._generator(_INIT, 0))
        self._optimizer = torch.optim.Adam(self._policy.parameters(), lr=_LEARNING_RATE)
        self._reward = WindowedReward(self._better)
        self._baseline = MovingBaseline()
        self._pending: list[tuple[Indices, float]] = []
        self._entropies: list[float] = []  # of the policy before each trial that it learned from

    def entropies(self, study: Study) -> Sequence[float]:
        """Joint entropy in nats of the policy when it drew each of the measured trials.

        Brings the policy to the state that follows from them.
        """
        for trial in measured_trials(study)[len(self._entropies) :]:
            self._learn(trial)
        return self._entropies

    def likeliest(self, study: Study) -> dict[str, Choice]:
        """The likeliest choice of every dimension after the measured trials of ``study``."""
        self.entropies(study)
        return self._choices(self._policy.argmax())

    def sample(self, study: Study, trial: FrozenTrial) -> Params:
        """Draw an architecture from the policy as the measured trials have made it."""
        self.entropies(study)
        place = len(trials_before(study, trial))
        draw, beyond = self._generator(_DRAW, place), self._rng(_BEYOND, place)
        return self._within(trial, lambda: self._choices(self._policy.sample(draw)), beyond)

    def _learn(self, trial: FrozenTrial) -> None:
        self._entropies.append(self._policy.entropy().item())
        reward = self._reward.update(dict(zip(self._better, trial.values, strict=True)))
        if UNIFORM not in trial.user_attrs:
            advantage = reward - self._baseline.update(reward)
            places = (choices.index(trial.params[n]) for n, choices in self.dimensions.items())
            self._pending.append((tuple(places), advantage))
        if self._pending and len(self._entropies) % self._settings.batch == 0:
            architectures, advantages = zip(*self._pending, strict=True)
            reinforce_step(self._policy, self._optimizer, architectures, advantages)
            self._pending.clear()

    def _choices(self, indices: Indices) -> dict[str, Choice]:
        pairs = zip(self.dimensions.items(), indices, strict=True)
        return {name: choices[index] for (name, choices), index in pairs}

    def _generator(self, purpose: str, count: int) -> torch.Generator:
        return torch.Generator().manual_seed(draw_seed(self._settings.seed, purpose, count))


@register(
    "evolution",
    "aging evolution: mutate the best of a few, let the oldest die",
    paper="arXiv:1802.01548",
)
class AgingEvolutionSampler(SpaceSampler):
    """Mutates the best of a few members of the youngest population; the oldest members die.

    Fitness is the sum of a member's dense ranks over the objectives within the population: the
    last 50 measured trials. As many architectures are drawn at random first. A parent is the best
    of ten members.

    References:
        Real et al. 2019, "Regularized Evolution for Image Classifier Architecture Search",
        arXiv:1802.01548.
    """

    def sample(self, study: Study, trial: FrozenTrial) -> Params:
        """Draw at random until the population is full, then mutate the winner of a tournament."""
        place = len(trials_before(study, trial))
        rng = self._rng("evolution", place)
        # What was measured of the same batch may not count: after a kill more of it is.
        trials = measured_trials(study)[: place - place % self._settings.batch]
        if len(trials) < _POPULATION:
            params = self._within(trial, lambda: self._draw(rng), rng)
            self.notes[trial.number] = {UNIFORM: True}
            return params
        parent = self._parent(trials[-_POPULATION:], rng)
        names = self.dimensions if self.active is None else self.active(parent)
        return self._within(trial, lambda: self._mutate(parent, rng, names), rng)

    def _parent(self, alive: Sequence[FrozenTrial], rng: np.random.Generator) -> Params:
        columns = {
            name: [trial.values[place] for trial in alive]
            for place, name in enumerate(self._better)
        }
        sums = rank_sums(columns, self._better)
        entrants = rng.choice(len(alive), size=_TOURNAMENT, replace=False)
        winner: FrozenTrial = alive[min(entrants, key=lambda place: sums[place])]
        return winner.params


class ReseededSampler(BaseSampler):
    """Draws each trial with a fresh sampler of Optuna, seeded by how many trials come before it.

    All that the library's samplers know beside their random state is in the study, so nothing is
    lost by making a new one. Trials that were outside the limits count, too, or the next one would
    be the same.

    Args:
        make: Seed (below 2^32) to sampler.
        seed: Seed of the run.
        repeats: Trials that take each architecture, one after the other.
    """

    def __init__(self, make: Callable[[int], BaseSampler], *, seed: int, repeats: int = 1) -> None:
        self._make, self._seed, self._repeats = make, seed, repeats
        self._again: Params | None = None  # the choices that the trial repeats
        self._sampler = make(draw_seed(seed, "trial", 0))

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Make the sampler of this trial."""
        before = trials_before(study, trial)
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


@register(
    "random",
    "uniform draws, the baseline that any search should beat",
    paper="Bergstra and Bengio 2012, JMLR 13",
)
def random_sampler(_space: object, _ways: object, settings: SearchSettings) -> ReseededSampler:
    """Optuna's random draws; each several times in a row where the settings have ``seeds``."""
    repeats = getattr(settings, "seeds", 1)
    return ReseededSampler(
        lambda seed: RandomSampler(seed=seed), seed=settings.seed, repeats=repeats
    )


@register(
    "tpe",
    "tree-structured Parzen estimators for several objectives, from Optuna",
    paper="Bergstra et al. 2011, NeurIPS; Ozaki et al. 2022, JAIR 73",
)
def tpe_sampler(_space: object, _ways: object, settings: SearchSettings) -> ReseededSampler:
    """Optuna's TPE."""
    return ReseededSampler(lambda seed: TPESampler(seed=seed), seed=settings.seed)


@register(
    "nsga2",
    "the genetic algorithm NSGA-II for several objectives, from Optuna",
    paper="Deb et al. 2002, IEEE TEC 6(2)",
)
def nsga2_sampler(_space: object, _ways: object, settings: SearchSettings) -> ReseededSampler:
    """Optuna's NSGA-II."""
    return ReseededSampler(lambda seed: OrderedNSGAIISampler(seed=seed), seed=settings.seed)


class OrderedNSGAIISampler(NSGAIISampler):
    """NSGA-II whose parents stand in one order whether they were just chosen or read back.

    The library draws parents by their place in a list that is sorted by merit in the trial that
    chooses them and by number in all later ones, which a kill in between would tell apart.
    """

    def select_parent(self, study: Study, generation: int) -> list[FrozenTrial]:
        """The parents of ``generation``, by number."""
        parents = super().select_parent(study, generation)
        return sorted(parents, key=lambda trial: trial.number)

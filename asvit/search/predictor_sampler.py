"""The controller that learns from trainings which architectures will be accurate."""

import logging
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.study import Study
from optuna.trial import FrozenTrial

from asvit.reference.findings import LEAST_TRAININGS
from asvit.search.acquisition import Acquisition, farthest
from asvit.search.controllers import register
from asvit.search.limits import Limits
from asvit.search.sampler import (
    MEASURED,
    Params,
    SpaceSampler,
    measured_trials,
    trials_before,
)
from asvit.search.settings import PREDICTOR
from asvit.spaces import cost, load_space
from proxies.evaluation import FAILURES

logger = logging.getLogger(__name__)

_SPREAD = 256  # random draws of which one is farthest from those before
_SAMPLED = 200  # candidates drawn from the space, the same in a whole run: counting takes time
_OF_FAMILY = 2  # first trainings of each family: one made by hand, and a random one
_FAMILY_DRAWS = 20  # random draws of a family, none of which within the limits leaves it out
_APART = 10.0  # distance between families, more than there is within one
_PARENTS, _CHILDREN = 5, 10  # architectures that are mutated, and into how many candidates


@register(
    PREDICTOR,
    "short trainings, chosen by a Gaussian process that learns from them",
    paper="White et al. 2021, arXiv:2104.01177; Srinivas et al. 2010, arXiv:0912.3995",
)
class PredictorSampler(SpaceSampler):
    """Trains what a predictor, fitted to the trainings so far, expects most of.

    Of several families it first trains the networks made by hand, and then a random network of
    each that is far from it, those of the accurate families first.

    Of a batch, the choices follow from the trainings before the batch, and from those of the batch
    before them. There is one objective.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._space = load_space(self._settings.space)
        self.limits: Limits = Limits(self._space, self._settings)

    @cached_property
    def _acquisition(self) -> Acquisition:
        if not self._space.branch:
            return Acquisition()
        return Acquisition(first=max(LEAST_TRAININGS, _OF_FAMILY * len(self._families)))

    def sample(self, study: Study, trial: FrozenTrial) -> Params:
        """Draw far from all others at first, then what the predictor chooses."""
        from asvit.predictor import Predictor  # scikit-learn, which other searches do not need

        before = trials_before(study, trial)
        place = len(before)
        start = place - place % self._settings.batch
        fitting = [other for other in measured_trials(study)[:start] if self._fits(other.params)]
        trainings = self._outcomes(fitting)
        params_of = {self._text(other.params): other.params for other in before}
        seen = [other.params for other in before]
        if family := self._next_family(seen, [(params_of[t], value) for t, value in trainings]):
            return self._of_family(family, place, seen)
        if place < self._acquisition.first or len(trainings) < LEAST_TRAININGS:
            return self._spread(place, list(params_of.values()))
        candidates = {  # what failed is nothing new
            text: params
            for params in self._candidates(start, trainings, params_of)
            if self._fits(params) and (text := self._text(params)) not in params_of
        }
        every = {**candidates, **params_of}
        choice = self._acquisition.choose(
            partial(Predictor, self._settings.image_size),
            trainings,
            [self._text(other.params) for other in before[start:] if self._fits(other.params)],
            list(candidates),
            place=place,
            allowed=lambda text: text in params_of or self._allowed(every[text]),
        )
        return every[choice]

    def _outcomes(self, trials: Sequence[FrozenTrial]) -> list[tuple[str, float]]:
        """Texts and accuracies of the trainings that did not fail: others say nothing of seeds."""
        return [
            (self._text(trial.params), value)
            for trial in trials
            for value in trial.values
            if math.isfinite(value) and not trial.user_attrs.get(MEASURED, {}).get("reasons")
        ]

    def _text(self, params: Params) -> str:
        return str(self.limits.network(self._space.decode(params)))

    def _allowed(self, params: Params) -> bool:
        """Whether the network is within the limits, its time among them."""
        return self.limits.excess(self._space.decode(params)) is None

    def _fits(self, params: Params) -> bool:
        """Whether the network can be built, as a predictor needs, and its size is within limits.

        Costs are cached, and the predictor asks for them, too.
        """
        arch = self._space.decode(params)
        try:
            network, limits = self.limits.network(arch), self.limits
            cost(network, self._settings.image_size, limits.classes, in_chans=limits.channels)
        except FAILURES:
            return False
        return self.limits.excess(arch, timed=False) is None

    @cached_property
    def _families(self) -> Mapping[str, Params | None]:
        """The families within the limits, each with its network made by hand, if that is, too."""
        branch, space = self._space.branch, self._space
        texts = map(space.parse, space.by_hand)
        by_hand = {str(params[branch]): params for params in map(space.encode, texts)}
        families: dict[str, Params | None] = {}
        for family in map(str, self.dimensions[branch]):
            rng = self._rng(f"family {family}", 0)
            draws = ({**self._draw(rng), branch: family} for _ in range(_FAMILY_DRAWS))
            published = by_hand.get(family)
            if published is not None and self._allowed(published):
                families[family] = published
            elif any(map(self._allowed, draws)):
                families[family] = None
            else:
                logger.warning("%s has no network within the limits and is left out", family)
        return families

    def _next_family(
        self, seen: Sequence[Params], trainings: Sequence[tuple[Params, float]]
    ) -> str | None:
        """The family with the fewest trainings, if it has too few: of several the most accurate.

        None in a space of one family.
        """
        branch = self._space.branch
        if not branch:
            return None
        counts = Counter(params[branch] for params in seen)
        few = [family for family in self._families if counts[family] < _OF_FAMILY]

        def rank(family: str) -> tuple[int, float]:
            of = [value for params, value in trainings if params[branch] == family]
            return counts[family], -max(of, default=-math.inf)

        return min(few, key=rank, default=None)

    def _of_family(self, family: str, place: int, seen: Sequence[Params]) -> Params:
        """A training of a family: first the network made by hand, then one far from it."""
        by_hand = self._families[family]
        if by_hand is not None and all(params[self._space.branch] != family for params in seen):
            return by_hand
        return self._spread(place, seen, {self._space.branch: family})

    def _spread(
        self, place: int, others: Sequence[Params], family: Params | None = None
    ) -> Params:
        """Of many random draws the one within the limits that is farthest from all others."""
        rng = self._rng("spread", place)
        draws = [self._draw(rng) | (family or {}) for _ in range(_SPREAD)]
        if self._settings.limited and not others:  # the centre is that of those within
            draws = [params for params in draws if self._fits(params)]
        points, rest = self._points(draws), self._points(others)
        while draws:
            best = farthest(points, rest)
            if self._allowed(draws[best]):
                return draws[best]
            del draws[best]
            points = np.delete(points, best, axis=0)
        return self.limits.first(lambda: self._draw(rng) | (family or {}), dict)

    def _points(self, many: Sequence[Params]) -> NDArray[np.float64]:
        """Architectures ``[many, dimensions]`` by the places of their choices, in [0, 1].

        The choices of a branch, which decides which other dimensions count, are equally far apart.
        """
        branch, dimensions = self._space.branch, self.dimensions
        rows = []
        for params in many:
            active = set(self._space.active(params))
            row = [
                c.index(params[name]) / max(1, len(c) - 1) if name in active else 0.0
                for name, c in dimensions.items()
            ]
            rows.append(row + [_APART * (params[branch] == c) for c in dimensions.get(branch, ())])
        columns = len(dimensions) + len(dimensions.get(branch, ()))
        return np.array(rows, dtype=np.float64).reshape(len(many), columns)

    def _candidates(
        self, start: int, trainings: Sequence[tuple[str, float]], params_of: Mapping[str, Params]
    ) -> Iterator[Params]:
        """Random architectures, and mutants of the most accurate ones."""
        rng = self._rng("candidates", 0)
        yield from (self._draw(rng) for _ in range(_SAMPLED))
        rng = self._rng("mutants", start)
        best = dict.fromkeys(text for text, _ in sorted(trainings, key=lambda one: -one[1]))
        for text in list(best)[:_PARENTS]:
            parent = params_of[text]
            names = list(self._space.active(parent))
            yield from (self._mutate(parent, rng, names) for _ in range(_CHILDREN))

    def _rng(self, purpose: str, place: int) -> np.random.Generator:
        return super()._rng(f"predictor {purpose}", place)

"""The controller that learns from trainings which architectures will be accurate."""

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.study import Study
from optuna.trial import FrozenTrial

from asvit.predictor import Predictor
from asvit.reference.findings import LEAST_TRAININGS
from asvit.search.acquisition import Acquisition, farthest
from asvit.search.limits import Limits
from asvit.search.sampler import (
    Params,
    Space,
    SpaceSampler,
    active_trials,
    measured_trials,
    place_of,
)
from asvit.search.trained import known_before, trained_before
from asvit.spaces import cost, load_space
from proxies.evaluation import FAILURES

_SPREAD = 256  # random draws of which one is farthest from those before
_SAMPLED = 200  # candidates drawn from the space, the same in a whole run: counting takes time
_OF_FAMILY = 2  # first trainings of each family, where there are several
_APART = 10.0  # distance between families, more than there is within one
_PARENTS, _CHILDREN = 5, 10  # architectures that are mutated, and into how many candidates


class PredictorSampler(SpaceSampler):
    """Trains what a predictor, fitted to the trainings so far, expects most of.

    It keeps no state, as the other samplers: see :mod:`asvit.search.sampler`. Of a batch, the
    choices follow from the trainings before the batch, and from those of the batch before them.
    There is one objective.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._space = load_space(self._settings.space)
        self.limits: Limits = Limits(self._space, self._settings)
        families = len(self._dimensions.get(self._space.branch, ()))
        self._acquisition = Acquisition(first=max(Acquisition.first, _OF_FAMILY * families))

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: Space) -> Params:
        """Draw far from all others at first, then what the predictor chooses."""
        place = place_of(study, trial)
        start = place - place % self._settings.batch
        before = [other for other in active_trials(study) if other.number < trial.number]
        measured = measured_trials(study)[:start]
        table = trained_before(study)  # in a table
        trainings = [(text, value) for text, of in known_before(table).items() for value in of]
        spent = len(trainings) + place
        fitting = (other for other in measured if self._fits(other.params))
        trainings += [(self._text(other.params), other.values[0]) for other in fitting]
        trainings = [(text, value) for text, value in trainings if math.isfinite(value)]
        own = {self._text(other.params): other.params for other in before}
        others = {**{text: self._space.encode(self._space.parse(text)) for text in table}, **own}
        if spent < self._acquisition.first or len(trainings) < LEAST_TRAININGS:
            return self._spread(place, list(others.values()))
        # What failed, here or in the table, is not known, and yet nothing new.
        candidates = {
            text: params
            for params in self._candidates(start, trainings)
            if self._fits(params) and (text := self._text(params)) not in others
        }
        params_of = {**candidates, **others}
        choice = self._acquisition.choose(
            partial(Predictor, self._settings.image_size, per_cent=True),
            trainings,
            [self._text(other.params) for other in before[start:] if self._fits(other.params)],
            list(candidates),
            place=spent,
            allowed=lambda text: text in own or self._allowed(params_of[text]),
        )
        params = params_of[choice]
        if choice in own or self._allowed(params):
            return params
        rng = self._rng("beyond", place)
        return self.limits.first(lambda: self._draw(rng), dict)

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
            cost(self.limits.network(arch), self._settings.image_size, self.limits.classes)
        except FAILURES:
            return False
        return self.limits.excess(arch, timed=False) is None

    def _spread(self, place: int, others: Sequence[Params]) -> Params:
        """Of many random draws the one within the limits that is farthest from all others."""
        rng = self._rng("spread", place)
        draws = [self._draw(rng) for _ in range(_SPREAD)]
        if self._settings.limited:
            draws = [params for params in draws if self._fits(params)]
        while draws:
            best = farthest(self._points(draws), self._points(others))
            if self._allowed(draws[best]):
                return draws[best]
            del draws[best]
        return self.limits.first(lambda: self._draw(rng), dict)

    def _points(self, many: Sequence[Params]) -> NDArray[np.float64]:
        """Architectures ``[many, dimensions]`` by the places of their choices, in [0, 1].

        The choices of a branch, which decides which other dimensions count, are equally far apart.
        """
        branch, dimensions = self._space.branch, self._dimensions
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

    def _candidates(self, start: int, trainings: Sequence[tuple[str, float]]) -> Iterator[Params]:
        """Random architectures, and mutants of the most accurate ones."""
        rng = self._rng("candidates", 0)
        yield from (self._draw(rng) for _ in range(_SAMPLED))
        rng = self._rng("mutants", start)
        best = dict.fromkeys(
            text for text, _ in sorted(trainings, key=lambda training: -training[1])
        )
        for text in list(best)[:_PARENTS]:
            parent = self._space.encode(self._space.parse(text))
            names = list(self._space.active(parent))
            yield from (self._mutate(parent, rng, names) for _ in range(_CHILDREN))

    def _rng(self, purpose: str, count: int) -> np.random.Generator:
        return np.random.default_rng(self._seed(f"predictor {purpose}", count))

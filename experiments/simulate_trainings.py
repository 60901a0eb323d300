"""Searches by a predictor, simulated on tables of networks that were trained before.

A search may train the rows of a table alone. The accuracy in the table, or its mean over training
seeds, is taken as the truth; a training shows it with normal noise, as wide as that between the
seeds, or half as wide as the accuracies are apart where the table has no seeds. The product's own
functions choose rows and finalists.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from asvit.predictor import features
from asvit.predictor.process import Process
from asvit.reference import ReferenceTable
from asvit.search import SearchSettings
from asvit.search.acquisition import Acquisition, farthest
from asvit.search.conclusion import Trained, finalists_of
from asvit.search.settings import FINALISTS
from proxies import Cost

Array = NDArray[np.float64]

BATCH = 4  # trainings chosen together
NOISE = 0.5  # that is added to accuracies, over their standard deviation
SPREAD = 20  # rows of which one is farthest from those before
TABLES = (
    "asvit-fractal",
    "vitbench101-pit:c100_base_acc",
    "vitbench101-autoformer:c100_kd_acc",
    "asvit-sizes",
    "timm-in1k",
)


@dataclass(frozen=True)
class Rows:
    """The rows of a table as a search sees them."""

    table: ReferenceTable
    target: str = ""  # its accuracies; empty for the default ones

    @cached_property
    def features(self) -> tuple[list[str], Array]:
        """Names of columns, and their values ``[rows, columns]``."""
        t = self.table
        counts = t.counts or None
        return features(t.architectures, t.image_sizes, num_classes=t.num_classes, counts=counts)

    @cached_property
    def places(self) -> Array:
        """Where the rows lie for distances, ``[rows, columns]``."""
        values = self.features[1]
        spread = np.nanstd(values, axis=0)
        away = (values - np.nanmean(values, axis=0)) / np.where(spread, spread, 1)
        found: Array = np.nan_to_num(away)
        return found

    @cached_property
    def truth(self) -> Array:
        """What each row has on average over training seeds, per cent."""
        return np.array(self.table.accuracies[self.target or self.table.default_target])

    @cached_property
    def noise(self) -> float:
        """Standard deviation between training seeds, points."""
        seeds = [n for n in self.table.targets if n.startswith("accuracy_seed")]
        if self.target or not seeds:
            return NOISE * float(np.std(self.truth))
        every = np.stack([self.table.accuracies[name] for name in seeds])
        return math.sqrt(float(every.var(axis=0, ddof=1).mean()))


class RowPredictor:
    """A predictor that takes the numbers of rows, as texts, in place of architectures."""

    def __init__(self, rows: Rows) -> None:
        self._names, self._values = rows.features

    def fit(
        self, architectures: Sequence[str], accuracies: ArrayLike, noise: ArrayLike
    ) -> RowPredictor:
        """See :class:`asvit.Predictor`."""
        values = self._values[[int(text) for text in architectures]]
        known = np.full(len(values), np.maximum(noise, 1e-3))
        self._process = Process(self._names, values, np.asarray(accuracies), known)
        return self

    def predict(self, architectures: Sequence[str]) -> tuple[Array, Array]:
        """See :class:`asvit.Predictor`."""
        return self._process.predict(
            self._names, self._values[[int(text) for text in architectures]]
        )


@dataclass(frozen=True)
class Outcome:
    """What a search ended in."""

    accuracy: float  # true one of the winner
    low: float  # ends of the 90 % interval that the product prints; NaN without one
    high: float


def simulate(rows: Rows, trainings: int, seed: int) -> Outcome:
    """One search."""
    rule = Acquisition()
    rng = np.random.default_rng([seed, trainings])
    order = rng.permutation(len(rows.truth))
    noise = rng.normal(0, rows.noise, (len(order), trainings))
    settings = SearchSettings(controller="predictor", trainings=trainings)
    known: list[tuple[str, float]] = []
    count: defaultdict[str, int] = defaultdict(int)

    def train(text: str) -> float:
        shown = rows.truth[int(text)] + noise[int(text), count[text]]
        count[text] += 1
        return float(np.clip(shown, 0, 100))

    while len(known) < settings.trials:
        chosen: list[str] = []
        for place in range(len(known), min(len(known) + BATCH, settings.trials)):
            before = [*count, *chosen]
            if place < rule.first:
                chosen.append(_spread(rows.places, [*map(int, before)], rng))
                continue
            every = list(map(str, range(len(order))))
            chosen.append(
                rule.choose(partial(RowPredictor, rows), known, chosen, every, place=place)
            )
        known += [(text, train(text)) for text in chosen]
    make = partial(RowPredictor, rows)
    finalists = finalists_of(_trained(known), make, {})[:FINALISTS]
    fresh = {
        one.architecture: [train(one.architecture) for _ in range(settings.final_trainings)]
        for one in finalists
        if settings.final_trainings
    }
    known += [(text, value) for text, values in fresh.items() for value in values]
    winner = finalists_of(_trained(known), make, fresh)[0]
    interval = winner.confirmed
    return Outcome(
        rows.truth[int(winner.architecture)],
        math.nan if interval is None else interval.low,
        math.nan if interval is None else interval.high,
    )


def _trained(known: Sequence[tuple[str, float]]) -> dict[str, Trained]:
    """The trainings by row."""
    of: defaultdict[str, list[float]] = defaultdict(list)
    for text, value in known:
        of[text].append(value)
    return {text: Trained(text, 0, Cost(1, 1), values) for text, values in of.items()}


def _spread(places: Array, before: Sequence[int], rng: np.random.Generator) -> str:
    """A row far from those before."""
    new = [n for n in rng.permutation(len(places)) if n not in before][:SPREAD]
    return str(new[farthest(places[new], places[list(before)])])

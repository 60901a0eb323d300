"""Searches by a predictor beside random ones, on tables of networks that were trained before.

Run from a checkout: ``python -m experiments.simulate_trainings``. A search may train the rows of a
table alone. The accuracy in the table, or its mean over training seeds, is taken as the truth; a
training shows it with normal noise, as wide as that between the seeds, or half as wide as the
accuracies are apart where the table has no seeds. The product's own functions choose rows and
finalists. Searches are paired: those of one seed meet the same noise.
"""

from __future__ import annotations

import argparse
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from asvit.predictor import features
from asvit.predictor.process import Process
from asvit.reference import ReferenceTable, load_reference
from asvit.search import TrainingSearchSettings
from asvit.search.acquisition import Acquisition, farthest
from asvit.search.conclusion import finalists_of
from asvit.search.settings import FINALISTS
from asvit.search.trained import Trained
from asvit.statistics.intervals import contrast
from experiments.tables import markdown
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


#: Name of a rule -> the rule; None trains random rows once each and takes the best.
RULES: Mapping[str, Acquisition | None] = {"random": None, "product": Acquisition()}


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
    low: float  # ends of the 90 % interval that the product prints; NaN where there is none
    high: float
    winner: float  # mean of all its trainings, which is too high


def simulate(rows: Rows, rule: Acquisition | None, trainings: int, seed: int) -> Outcome:
    """One search."""
    rng = np.random.default_rng([seed, trainings])
    order = rng.permutation(len(rows.truth))
    noise = rng.normal(0, rows.noise, (len(order), trainings))
    settings = TrainingSearchSettings(controller="predictor", trainings=trainings)
    known: list[tuple[str, float]] = []
    count: defaultdict[str, int] = defaultdict(int)

    def train(text: str) -> float:
        shown = rows.truth[int(text)] + noise[int(text), count[text]]
        count[text] += 1
        return float(np.clip(shown, 0, 100))

    if rule is None:
        texts = list(map(str, order[:trainings]))
        measured = list(map(train, texts))
        best = int(np.argmax(measured))
        return Outcome(rows.truth[order[best]], math.nan, math.nan, measured[best])
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
        winner.values["accuracy"],
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


def simulate_all(
    rows: Rows, rule: Acquisition | None, trainings: int, searches: int, jobs: int = 1
) -> list[Outcome]:
    """Searches with the seeds from 0."""
    _ = rows.features, rows.places  # once for all
    one = partial(simulate, rows, rule, trainings)
    if jobs == 1:
        return list(map(one, range(searches)))
    with ProcessPoolExecutor(jobs) as pool:
        return list(pool.map(one, range(searches), chunksize=max(1, searches // (8 * jobs))))


def table(by_rule: Mapping[str, Sequence[Outcome]], random_row: float) -> str:
    """The results as Markdown; differences are paired."""
    base = np.array([one.accuracy for one in by_rule["random"]])
    lines = [["a random row", f"{random_row:.2f}", "", ""]]
    for name, outcomes in by_rule.items():
        values = np.array([one.accuracy for one in outcomes])
        more = contrast((1, values - base))
        low, high = more.interval
        cell = "" if name == "random" else f"{more.value:+.2f} ({low:+.2f} to {high:+.2f})"
        mean = f"{values.mean():.2f} ± {stats.sem(values):.2f}"
        lines.append([name, mean, cell, _holds(outcomes)])
    columns = ("accuracy", "points more than the best of random rows (95 %)", "interval holds")
    return markdown({"rule": "l", **dict.fromkeys(columns, "r")}, lines)


def _holds(outcomes: Sequence[Outcome]) -> str:
    """The share of intervals that hold the true accuracy."""
    held = [one.low <= one.accuracy <= one.high for one in outcomes if math.isfinite(one.low)]
    return f"{np.mean(held):.2f} ± {stats.sem(held):.2f}" if held else ""


def main() -> None:
    """Simulate on every table, and print a table of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--searches", type=int, default=100, help="of each rule")
    parser.add_argument("--trainings", type=int, default=24)
    parser.add_argument("--table", action="append", help="name, or name:target")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    options = parser.parse_args()
    for named in options.table or TABLES:
        table_name, _, target = named.partition(":")
        rows = Rows(load_reference(table_name), target)
        found = {
            name: simulate_all(rows, rule, options.trainings, options.searches, options.jobs)
            for name, rule in RULES.items()
        }
        words = f"{options.searches} searches of {options.trainings} trainings, per cent"
        print(f"\n{named}: {words}")
        print(table(found, float(np.mean(rows.truth))), flush=True)


if __name__ == "__main__":
    main()

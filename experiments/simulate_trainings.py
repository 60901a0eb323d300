"""Compares rules that spend trainings, on tables of networks that were trained before.

Run from a checkout: ``python -m experiments.simulate_trainings``. A search may train the rows of a
table alone. Of a table with several training seeds, a training shows the accuracy of one of them,
another training of the same row that of another, and the last seed, which no search sees, judges
the outcome. A table with one accuracy has normal noise added to it, half as wide as its accuracies
are apart, and judges without. Means are over searches with other random draws; the same for all
rules.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from asvit.predictor import features
from asvit.predictor.process import Process
from asvit.reference import ReferenceTable, load_reference
from asvit.search.acquisition import Acquisition, Fitted, farthest, seed_noise

Array = NDArray[np.float64]

BATCH = 4  # trainings chosen together
NEVER = 10**6
NOISE = 0.5  # that is added to accuracies, over their standard deviation
SPREAD = 20  # rows of which one is farthest from those before
TABLES = ("asvit-fractal", "vitbench101-pit:c100_base_acc", "vitbench101-autoformer:c100_kd_acc")


class Improvement(Acquisition):
    """Takes the largest expected improvement over the best prediction among those trained.

    References:
        Jones et al. 1998, "Efficient global optimization of expensive black-box functions".
    """

    def best(self, fitted: Fitted, fresh: Sequence[str], trained: Sequence[str]) -> str:
        """See the base."""
        (mean, std), top = fitted.predict(fresh), fitted.predict(trained)[0].max()
        above = (mean - top) / np.maximum(std, 1e-12)
        gain = (mean - top) * stats.norm.cdf(above) + std * stats.norm.pdf(above)
        return fresh[int(gain.argmax())]


#: Name of a rule -> the rule; None trains random rows once each.
RULES: Mapping[str, Acquisition | None] = {
    "random": None,
    "bound, never again": Acquisition(first=10, again=NEVER),
    "bound, 10 first, every 4th again": Acquisition(first=10, again=4),
    "bound, 6 first, every 3rd again": Acquisition(first=6, again=3),
    "bound, 8 first, every 2nd again": Acquisition(first=8, again=2),
    "prediction, 10 first, every 4th again": Acquisition(first=10, again=4, bound=0.0),
    "improvement, never again": Improvement(first=10, again=NEVER),
    "improvement, 10 first, every 4th again": Improvement(first=10, again=4),
}


@dataclass(frozen=True)
class Rows:
    """The rows of a table as a search sees them."""

    table: ReferenceTable
    target: str = ""  # its only accuracies; empty for those of training seeds

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

    def drawn(self, rng: np.random.Generator) -> tuple[Array, Array]:
        """Accuracies of trainings ``[rows, trainings]``, and those that judge, ``[rows]``."""
        if self.target:
            judging = np.array(self.table.accuracies[self.target])
            noise = rng.normal(0, NOISE * judging.std(), (len(judging), 50))
            return np.clip(judging[:, None] + noise, 0, 100), judging
        seeds = [n for n in self.table.targets if n.startswith("accuracy_seed")]
        every = np.stack([self.table.accuracies[name] for name in seeds], axis=1)
        mixed = rng.permuted(every, axis=1)
        return mixed[:, :-1], mixed[:, -1]


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
        self._process = Process().fit(self._names, values, np.asarray(accuracies), known)
        return self

    def predict(self, architectures: Sequence[str]) -> tuple[Array, Array]:
        """See :class:`asvit.Predictor`."""
        return self._process.predict(
            self._names, self._values[[int(text) for text in architectures]]
        )


def simulate(
    rows: Rows, rule: Acquisition | None, trainings: int, *, seed: int
) -> tuple[float, float, float]:
    """One search.

    Returns:
        The judging accuracy of the row with the highest mean, of that with the highest prediction
        among those trained, and of that with the highest prediction of all rows.
    """
    rng = np.random.default_rng([seed, trainings])
    seen, judging = rows.drawn(rng)
    order = rng.permutation(len(judging))
    known: list[tuple[str, float]] = []
    count: defaultdict[str, int] = defaultdict(int)

    def predictor() -> RowPredictor:
        return RowPredictor(rows)

    while len(known) < trainings:
        chosen: list[str] = []
        for place in range(len(known), min(len(known) + BATCH, trainings)):
            if rule is None:
                one = str(order[place])
            elif place < rule.first:
                one = _spread(rows.places, [*map(int, [*count, *chosen])], rng)
            else:
                spent = {text: count[text] + chosen.count(text) for text in [*count, *chosen]}
                one = rule.choose(
                    predictor,
                    known,
                    chosen,
                    list(map(str, range(len(judging)))),
                    place=place,
                    repeatable=_below(spent, seen.shape[1]),
                )
            chosen.append(one)
        for one in chosen:
            known.append((one, float(seen[int(one), count[one]])))
            count[one] += 1
    measured = {text: np.mean([a for t, a in known if t == text]) for text in count}
    texts, accuracies = zip(*known, strict=True)
    fitted = predictor().fit(texts, accuracies, seed_noise(known))
    trained = list(count)
    return (
        float(judging[int(max(measured, key=lambda text: measured[text]))]),
        float(judging[int(trained[int(fitted.predict(trained)[0].argmax())])]),
        float(judging[int(fitted.predict(list(map(str, range(len(judging)))))[0].argmax())]),
    )


def _below(spent: Mapping[str, int], most: int) -> Callable[[str], bool]:
    return lambda text: spent.get(text, 0) < most


def _spread(places: Array, before: Sequence[int], rng: np.random.Generator) -> str:
    """A row far from those before."""
    new = [n for n in rng.permutation(len(places)) if n not in before][:SPREAD]
    return str(new[farthest(places[new], places[list(before)])])


def markdown(found: Mapping[str, Sequence[Sequence[float]]], random_row: float) -> Iterator[str]:
    """The results as lines of a Markdown table, with standard errors."""
    yield "| rule | highest mean | highest prediction | of all rows |"
    yield "|---|--:|--:|--:|"
    yield f"| a random row | {random_row:.2f} | | |"
    for name, outcomes in found.items():
        values = np.array(outcomes)
        errors = values.std(axis=0) / np.sqrt(len(values))
        cells = (f"{m:.2f} ± {e:.2f}" for m, e in zip(values.mean(axis=0), errors, strict=True))
        yield f"| {name} | {' | '.join(cells)} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Simulate on every table, and print a table of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--searches", type=int, default=100, help="of each rule")
    parser.add_argument("--trainings", type=int, default=24)
    parser.add_argument("--table", action="append", help="name, or name:target")
    asked = parser.parse_args(arguments)
    for named in asked.table or TABLES:
        name, _, target = named.partition(":")
        rows = Rows(load_reference(name), target)
        found = {
            name: [simulate(rows, rule, asked.trainings, seed=s) for s in range(asked.searches)]
            for name, rule in RULES.items()
        }
        judging = rows.table.accuracies[target or "accuracy"]
        print(f"\n{named}: {asked.searches} searches of {asked.trainings} trainings, per cent")
        print("\n".join(markdown(found, float(np.mean(judging)))))


if __name__ == "__main__":
    main()

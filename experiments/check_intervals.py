"""Do the intervals hold what they say? Coverage of each kind in simulations with known truth.

Run from a checkout: ``python -m experiments.check_intervals``, with ``--quick`` in a minute. Each
kind of interval that asvit prints, or that its documentation has, is made of samples drawn here.
An interval of 95 % is to cover 90 to 97 % of them, one of 90 % 85 to 95 %; of a few cases, more,
since counts are whole numbers. Ends with 1 if one does not, by more than twice its standard error.
"""

import argparse
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from asvit.core.estimates import Estimate, Interval
from asvit.predictor.validation import COVERED, Rows, Splits, gather_rows, make_split
from asvit.reference import load_reference
from asvit.reference.correlate import correlate
from asvit.reference.findings import Finding
from asvit.search.conclusion import check_predictor
from asvit.statistics.intervals import (
    balanced_accuracy,
    combined,
    paired_difference,
    proportion,
    stratified_difference,
    weighted_proportions,
)
from asvit.statistics.ranks import resampled_tau, thirds
from experiments import compare_designs, simulate_trainings, study_mended
from experiments.kinds import RANDOM, Row, difference
from experiments.simulate_trainings import TABLES
from experiments.study_designs import mean_over_sets
from experiments.tables import markdown
from experiments.variance import variance_components

Array = NDArray[np.float64]
T = TypeVar("T")

SAMPLES, QUICK = 400, 20
#: Coverage that an interval says -> what it is to have here.
BOUNDS: Mapping[float, tuple[float, float]] = {0.95: (0.90, 0.97), 0.9: (0.85, 0.95)}
NETWORKS, TRAININGS = 3.4, 2.7  # deviations between networks and trainings, on hard fractals


@dataclass(frozen=True)
class Coverage:
    """How often an interval held the truth."""

    case: str
    covered: int
    samples: int
    level: float = 0.95  # what it says
    coarse: bool = False  # of so few cases that it may cover more

    @property
    def share(self) -> float:
        """Of the samples whose interval held it."""
        return self.covered / self.samples

    @property
    def error(self) -> float:
        """Standard error of the share."""
        smoothed = (self.covered + 1) / (self.samples + 2)
        return math.sqrt(smoothed * (1 - smoothed) / self.samples)

    @property
    def holds(self) -> bool:
        """Whether the share is within bounds, as far as so few samples tell."""
        low, high = BOUNDS[self.level]
        most = 1.0 if self.coarse else high + 2 * self.error
        return low - 2 * self.error <= self.share <= most


#: Makes coverages from so many samples of each case, and a seed.
Kind = Callable[[int, int], Iterable[Coverage]]


def covered(
    case: str,
    samples: Sequence[tuple[float, Interval]],
    level: float = 0.95,
    *,
    coarse: bool = False,
) -> Coverage:
    """Of samples with their truth and interval."""
    inside = sum(low <= truth <= high for truth, (low, high) in samples)
    return Coverage(case, inside, len(samples), level, coarse)


def few(samples: int, cases: Sequence[T]) -> Sequence[T]:
    """The cases whose samples take long: all of them, or the first one of a quick check."""
    return cases if samples > QUICK else cases[:1]


def outcomes(samples: int, seed: int) -> Iterable[Coverage]:
    """Differences of what searches, growths and rules end in; see ``compare_outcomes``."""

    def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        return rng.normal(0, 1, shape)

    def skewed(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        """Mean 0 and deviation 1, with failures below."""
        return 1 - rng.exponential(1, shape)

    cases: list[tuple[str, int, int, bool, Callable[..., Array]]] = [
        ("5 against 24 networks", 5, 24, False, normal),
        ("5 against 24 networks, skewed", 5, 24, False, skewed),
        ("5 against 5 networks in pairs", 5, 5, True, normal),
        ("5 against 5 networks in pairs, skewed", 5, 5, True, skewed),
        ("3 against 5 networks", 3, 5, False, normal),
        ("3 networks against one", 3, 1, False, normal),
        ("3 growths that end in one network against one", -3, 1, False, normal),
    ]
    for name, count, others, pairs, draw in cases:
        found = []
        for number in range(samples):
            rng, rows, truth = np.random.default_rng([seed, number]), [], 0.0
            for kind, many, sign in (("a", count, 1), ("b", others, -1)):
                means = NETWORKS * draw(rng, (abs(many),))
                if len(means) == 1 or many < 0:
                    truth += sign * means[0]  # of this network, not of others like it
                accuracies = means[:, None] + TRAININGS * draw(rng, (len(means), 3))
                same = [0] * -many if many < 0 else range(many)
                rows += [
                    Row(kind, at, f"{kind}{place}", n, float(accuracies[place, n]))
                    for at, place in enumerate(same)
                    for n in range(3)
                ]
            apart = difference(rows, [("a", "b")], paired="ab" if pairs else "")
            found.append((truth, apart.interval))
        yield covered(name, found)


def best_drawn(samples: int, seed: int) -> Iterable[Coverage]:
    """Outcomes of searches against the best of random draws by one training of each."""

    def draws(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        means = rng.normal(0, NETWORKS, shape)
        return means[..., None] + rng.normal(0, TRAININGS, (*shape, 3))

    rng = np.random.default_rng(seed)
    many = draws(rng, (20_000, 24))
    picked = many[..., 0].argmax(axis=1)
    truth = -float(many[np.arange(len(many)), picked, 1:].mean())
    found = []
    for _ in range(samples):
        rows = [
            Row(kind, place, f"{kind}{place}", n, float(value))
            for kind, accuracies in (
                (compare_designs.AT_CAP, draws(rng, (5,))),
                (RANDOM, draws(rng, (24,))),
            )
            for place, values in enumerate(accuracies)
            for n, value in enumerate(values)
        ]
        found.append((truth, compare_designs.than_best_drawn(rows)[1].interval))
    yield covered("5 networks against the best of 24", found)


def means_over_sets(samples: int, seed: int) -> Iterable[Coverage]:
    """Means over sets of pictures of what designs gain there; see ``study_designs``."""
    alike, apart = [1.0] * 5, [1.2, 0.3, 0.2, 0.15, 4.0]
    rng = np.random.default_rng(seed)
    for pairs, deviations in (
        *(([2] * 5, alike), ([2] * 5, apart), ([3] * 5, apart), ([4, 3, 3, 3, 3], apart)),
        *(([5] * 5, alike), ([5] * 5, apart)),
    ):
        intervals = list[tuple[float, Interval]]()
        for _ in range(samples):
            sets = zip(deviations, pairs, strict=True)
            intervals.append((0.0, mean_over_sets([rng.normal(0, *of) for of in sets]).interval))
        name = f"{', '.join(map(str, pairs))} pairs, deviations {deviations[0]:g} to "
        yield covered(f"{name}{max(deviations):g}", intervals, coarse=max(pairs) < 3)


def same_pictures(samples: int, seed: int) -> Iterable[Coverage]:
    """The difference of two networks on the same pictures, in a design."""
    rng = np.random.default_rng(seed)
    for pictures in (20, 64, 400):
        for ours, theirs in ((0.1, 0.1), (0.2, 0.05), (0.04, 0.02)):
            found = []
            for _ in range(samples):
                drawn = rng.random(pictures)
                both = drawn > ours + theirs + 0.3
                left, right = (
                    both | (drawn < ours),
                    both | ((drawn >= ours) & (drawn < ours + theirs)),
                )
                found.append((ours - theirs, paired_difference(left, right).interval))
            name = f"{pictures} pictures, {ours:.0%} against {theirs:.0%} alone"
            yield covered(name, found, coarse=pictures * theirs < 5)


def accuracies(samples: int, seed: int) -> Iterable[Coverage]:
    """The accuracy of a network on pictures kept aside, in a design."""
    rng = np.random.default_rng(seed)
    for pictures, share in ((20, 0.8), (64, 0.65), (400, 0.95)):
        right = rng.binomial(pictures, share, samples)
        found = [(share, proportion(int(count), pictures).interval) for count in right]
        yield covered(f"{share:.0%} of {pictures} pictures", found)


#: Pictures of each class, and the share of them that a network is right about.
CLASSES: Mapping[str, tuple[Sequence[int], Sequence[float]]] = {
    "2 classes of 10": ((10, 10), (0.8, 0.8)),
    "classes of 100 to 5": ((100, 50, 20, 10, 5), (0.95, 0.9, 0.8, 0.6, 0.4)),
    "classes of 100 to 5, few mistakes": ((100, 50, 20, 10, 5), (0.99, 0.98, 0.95, 0.95, 0.9)),
    "40 classes of 12": ((12,) * 40, (0.9,) * 40),
    "classes of 100 and 5": ((5, 100), (0.6, 0.95)),
    "20 classes of 1": ((1,) * 20, (0.8,) * 20),
    "100 classes of 1": ((1,) * 100, (0.8,) * 100),
    "100 classes of 2": ((2,) * 100, (0.8,) * 100),
}


def balanced(samples: int, seed: int) -> Iterable[Coverage]:
    """The balanced accuracy of a network, in a test and a design."""
    rng = np.random.default_rng(seed)
    for name, (sizes, shares) in CLASSES.items():
        truth, found = float(np.mean(shares)), []
        for _ in range(samples):
            right = [rng.random(size) < share for size, share in zip(sizes, shares, strict=True)]
            found.append((truth, balanced_accuracy(right).interval))
        yield covered(name, found, coarse=min(sizes) <= 10)


def tests_apart(samples: int, seed: int) -> Iterable[Coverage]:
    """Differences of accuracies and of balanced ones, as ``asvit compare`` has them."""
    rng = np.random.default_rng(seed)
    for name, (sizes, shares) in CLASSES.items():
        strata = np.repeat(np.arange(len(sizes)), sizes)
        ours = np.repeat(shares, sizes)
        theirs, alone = 0.9 * ours, 0.5 * ours  # of which so many are right in both
        weights = np.repeat([1 / size / len(sizes) for size in sizes], sizes)
        truths = float((ours - theirs).mean()), float(((ours - theirs) * weights).sum())
        pairs, apart, balanced_apart = [], [], []
        for _ in range(samples):
            drawn, other = rng.random((2, len(strata)))
            left = drawn < ours
            right = (drawn < alone) | ((drawn >= alone) & (other < (theirs - alone) / (1 - alone)))
            pairs.append((truths[1], stratified_difference(left, right, strata).interval))
            free = rng.random(len(strata)) < theirs
            counts = [proportion(int(side.sum()), len(side)) for side in (left, free)]
            apart.append((truths[0], combined((1, counts[0]), (-1, counts[1])).interval))
            groups = [
                (sign / len(sizes), int(side[strata == at].sum()), size)
                for sign, side in ((1, left), (-1, free))
                for at, size in enumerate(sizes)
            ]
            balanced_apart.append((truths[1], weighted_proportions(*groups).interval))
        for words, found in (
            ("balanced, in pairs", pairs),
            ("independent", apart),
            ("balanced, independent", balanced_apart),
        ):
            yield covered(f"{name}, {words}", found, coarse=min(sizes) <= 10)


def _correlated(values: Array, accuracy: Array, count: Array, seed: int) -> Finding:
    """What ``asvit correlate`` finds of a measure beside a count, with fewer resamples."""
    counts = {"params": count}
    return correlate(values, accuracy, better="higher", counts=counts, samples=500, seed=seed)


def taus(samples: int, seed: int) -> Iterable[Coverage]:
    """Kendall's tau of a measure, and its difference to that of a count."""
    rng = np.random.default_rng(seed)
    for rows, tau, of_count in ((12, 0.3, 0.0), (12, 0.6, 0.6), (30, 0.3, 0.6), (100, 0.6, 0.4)):
        own, apart = [], []
        for number in range(samples):
            values, count, accuracy = _three(rng, rows, tau, of_count)
            found = _correlated(values, accuracy, count, number)
            own.append((tau, found.tau_interval))
            apart.append((tau - of_count, found.difference_interval))
        yield covered(f"τ {tau}, {rows} rows", own)
        yield covered(f"τ {tau} minus a count's {of_count}, {rows} rows", apart, coarse=rows < 60)


def bands(samples: int, seed: int) -> Iterable[Coverage]:
    """Kendall's tau inside the thirds of a count, and its difference to the count's."""
    rng = np.random.default_rng(seed)
    tau, of_count = 0.6, 0.4
    values, count, accuracy = _three(rng, 4_000, tau, of_count)
    once, groups = np.ones((1, 4_000)), thirds(count)
    truth = float(resampled_tau(values, accuracy, once, groups)[0])
    others = float(resampled_tau(count, accuracy, once, groups)[0])
    for rows in (30, 100):
        own, apart = [], []
        for number in range(samples):
            values, count, accuracy = _three(rng, rows, tau, of_count)
            found = _correlated(values, accuracy, count, number).within[0]
            own.append((truth, found.tau_interval))
            apart.append((truth - others, found.difference_interval))
        yield covered(f"τ inside thirds, {rows} rows", own)
        yield covered(f"τ inside thirds minus the count's, {rows} rows", apart, coarse=rows < 60)


def _three(rng: np.random.Generator, rows: int, tau: float, of_count: float) -> tuple[Array, ...]:
    """A measure, a count and accuracies with these taus, ``[rows]`` each."""
    accuracy = rng.normal(size=rows)
    shared = rng.normal(size=rows)  # by measure and count beside accuracy

    def of(wanted: float) -> Array:
        rho = math.sin(math.pi * wanted / 2)
        rest = 0.7 * shared + math.sqrt(0.51) * rng.normal(size=rows)
        return rho * accuracy + math.sqrt(1 - rho**2) * rest

    return of(tau), of(of_count), accuracy


def pair_taus(samples: int, seed: int) -> Iterable[Coverage]:
    """Kendall's tau over pairs inside families, between them, and of all networks."""
    for rho in (0.0, 0.3, 0.7):
        for name, families, each in (("30 networks", 30, 1), ("9 families of 4", 9, 4)):
            found: dict[str, list[tuple[float, Interval]]] = {}
            for number in range(-1, samples):  # the first tells the truth
                rng = np.random.default_rng([seed, number + 1])
                many = families if number >= 0 else 1_500 // each
                shared, own = rng.normal(size=(2, many, 1)), rng.normal(size=(2, many, each))
                x, y = (1.5 * (each > 1) * shared + own).reshape(2, -1)
                y = rho * x + math.sqrt(1 - rho**2) * np.std(x) * y / np.std(y)
                units = np.repeat(np.arange(many), each)
                same = units[:, None] == units
                for words, pairs in {"within": same, "between": ~same}.items():
                    if each == 1 and words == "within":
                        continue
                    keep = pairs & ~np.eye(len(x), dtype=np.bool_)
                    one = study_mended.tau(x, y, keep, units if number >= 0 else units % 2)
                    found.setdefault(words, []).append((one.value, one.interval))
            for words, ((truth, _), *rest) in found.items():
                case = f"τ {truth:.2f} {words}, {name}"
                yield covered(case, [(truth, interval) for _, interval in rest])


class Linear:
    """A predictor of texts that are numbers, by ridge regression."""

    def fit(self, architectures: Sequence[str], accuracies: ArrayLike, noise: ArrayLike) -> Self:
        """See :class:`asvit.Predictor`."""
        values, y = _numbers(architectures), np.asarray(accuracies)
        self._mean = float(y.mean())
        products = values.T @ values + np.eye(values.shape[1])
        self._weights = np.linalg.solve(products, values.T @ (y - self._mean))
        return self

    def predict(self, architectures: Sequence[str]) -> tuple[Array, Array]:
        """See :class:`asvit.Predictor`."""
        mean = self._mean + _numbers(architectures) @ self._weights
        return mean, np.ones(len(mean))


def _numbers(texts: Sequence[str]) -> Array:
    return np.array([[float(word) for word in text.split()] for text in texts])


def search_taus(samples: int, seed: int) -> Iterable[Coverage]:
    """Tau of the predictor of a search on held-out trainings.

    The truth is the mean over samples: of a predictor fitted to as many other trainings.
    """
    rng = np.random.default_rng(seed)
    for trainings, noise in ((12, 1.0), (24, 1.0), (24, 0.3), (48, 1.0)):
        found = []
        for number in range(samples):
            values = rng.normal(size=(trainings, 3))
            y = values @ [1.0, 0.5, 0.0] + noise * rng.normal(size=trainings)
            known = {" ".join(map(str, x)): [float(a)] for x, a in zip(values, y, strict=True)}
            found.append(check_predictor(Linear, known, seed=number))
        truth = float(np.mean([one.tau for one in found]))
        name = f"{trainings} trainings, τ {truth:.2f}"
        yield covered(name, [(truth, one.tau_interval) for one in found])


def validated(samples: int, seed: int) -> Iterable[Coverage]:
    """What ``asvit.cross_validate`` has; the truth is the mean over tables drawn alike."""
    statistics: Mapping[str, Callable[[Splits], Array]] = {
        "τ": Splits.taus,
        "share covered": Splits.covered,
    }
    for rows, trainings in few(samples, ((40, 12), (100, 12), (100, 50))):
        found: dict[str, list[Estimate]] = {name: [] for name in statistics}
        for number in range(samples):
            rng = np.random.default_rng([seed, number])
            values = rng.normal(size=(rows, 3))
            y = values @ [1.0, 0.5, 0.0] + 0.7 * rng.normal(size=rows)
            seeds = np.ones(rows, dtype=np.int64)
            table = Rows("", "abc", values, 60 + 5 * y, np.empty((0, rows)), seeds, {})
            made = Splits(table, trainings, 5, number)
            for name, statistic in statistics.items():
                found[name].append(made.estimate(statistic(made)))
        for name, estimates in found.items():
            truth = float(np.mean([one.value for one in estimates]))
            case = f"{name} {truth:.2f}, fitted to {trainings} of {rows} rows"
            yield covered(case, [(truth, one.interval) for one in estimates])


def searches(samples: int, seed: int) -> Iterable[Coverage]:
    """The accuracy of the winner of a search by trainings, whose finalists were trained again.

    A search of 48 trainings takes five seconds of a core.
    """
    for named in few(samples, TABLES):
        table, _, target = named.partition(":")
        rows = simulate_trainings.Rows(load_reference(table), target)
        for trainings in few(samples, (12, 24, 48)):
            ends = [
                simulate_trainings.simulate(rows, trainings, seed + number)
                for number in range(samples)
            ]
            found = [(end.accuracy, Interval(end.low, end.high)) for end in ends]
            yield covered(f"{trainings} trainings on {named}", found, COVERED)


def variance_shares(samples: int, seed: int) -> Iterable[Coverage]:
    """Shares of variance in a search: two networks of each family, and the best trained again.

    The truth is that of the families there are. These are few, so that more is covered.
    """
    for family, topology in ((0.7, 0.1), (0.3, 0.3), (0.1, 0.4), (0.85, 0.1)):
        truth = {"family": family, "topology": topology, "seed": 1 - family - topology}
        deviations = [5 * math.sqrt(share) for share in truth.values()]
        found: dict[str, list[tuple[float, Interval]]] = {name: [] for name in truth}
        for number in range(samples):
            rng = np.random.default_rng([seed, number])
            families = deviations[0] * rng.normal(size=9)
            networks = np.repeat(families, 2) + deviations[1] * rng.normal(size=18)
            first = networks + deviations[2] * rng.normal(size=18)
            places = [*range(18), *np.repeat(np.argsort(-first)[:2], 2)]
            again = networks[places[18:]] + deviations[2] * rng.normal(size=4)
            shares = variance_components(
                [*first, *again], {"family": [n // 2 for n in places], "topology": places}
            )
            variances = [families.var(ddof=1), deviations[1] ** 2, deviations[2] ** 2]
            for name, variance in zip(truth, variances, strict=True):
                found[name].append((variance / sum(variances), shares[name].interval))
        for name, intervals in found.items():
            case = f"{name} {truth[name]:.2f} beside family {family:g}, topology {topology:g}"
            yield covered(case, intervals, 0.9, coarse=True)


def predictions(samples: int, seed: int) -> Iterable[Coverage]:
    """The accuracy of a network that a predictor was not fitted to, of each fit one."""
    for named in few(samples, TABLES[:4]):
        table, _, target = named.partition(":")
        rows = gather_rows(load_reference(table), target or None)
        for trainings in few(samples, (12, 25, 50)):
            found = []
            for number in range(samples):
                one = make_split(rows, trainings, seed, number)
                place = number % len(one.test)
                interval = Interval(one.low[place], one.high[place])
                found.append((rows.accuracies[one.test[place]], interval))
            yield covered(f"{trainings} trainings of {named}", found, COVERED)


#: Name of a kind of interval -> its simulation.
KINDS: Mapping[str, Kind] = {
    "differences of outcomes": outcomes,
    "against the best of random draws": best_drawn,
    "means over sets of pictures": means_over_sets,
    "differences on the same pictures": same_pictures,
    "accuracies": accuracies,
    "balanced accuracies": balanced,
    "differences of tests": tests_apart,
    "τ of a measure": taus,
    "τ in bands": bands,
    "τ of pairs": pair_taus,
    "τ of a search's predictor": search_taus,
    "cross_validate": validated,
    "shares of variance": variance_shares,
    "winner of a search": searches,
    "predictions": predictions,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Simulate, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=SAMPLES, help="of each case")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} samples of each case")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", action="append", choices=KINDS)
    options = parser.parse_args(arguments)
    samples, failed = QUICK if options.quick else options.samples, False
    print(markdown({"interval": "l", "case": "l", "says": "r", "covers": "r"}, []))
    for kind in options.kind or KINDS:
        for one in KINDS[kind](samples, options.seed):
            told = f"{100 * one.share:.1f} ± {100 * one.error:.1f} %"
            mark = (" (few cases)" if one.coarse else "") if one.holds else " (!)"
            print(f"| {kind} | {one.case} | {one.level:.0%} | {told}{mark} |", flush=True)
            failed |= not one.holds
    sys.exit(int(failed))


if __name__ == "__main__":
    main()

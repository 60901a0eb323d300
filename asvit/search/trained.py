"""What a search that trains ends in: the accuracies of its trainings, and what they predict."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from asvit.core.codec import from_json
from asvit.core.estimates import NO_INTERVAL
from asvit.reference.findings import LEAST_TRAININGS
from asvit.search.acquisition import Fitted, pooled_squares, seed_noise
from asvit.search.front import non_dominated
from asvit.search.rows import (
    LEAST_JUDGED,
    Confirmed,
    Finalist,
    HeldOut,
    Measurement,
    Origin,
    PredictorCheck,
    TrialRow,
)
from asvit.search.seeds import draw_seed
from asvit.search.settings import ACCURACY
from asvit.statistics.intervals import around
from asvit.statistics.ranks import estimate, signs, weighed
from proxies.counts import Cost

if TYPE_CHECKING:
    from optuna.study import Study

    from asvit.search.limits import Limits
    from asvit.spaces.base import SearchSpace

TRAINING = "training"  # user attribute of a trial: the trained architecture's text, and its seed
BEFORE = "trainings before"  # of the study: text to the accuracies of a table, None for none
AGAIN = "finalists trained again"  # of the study: text and seed to measurement
WITH_SEED = " with seed "  # between these
FRESH = 1000  # the first seed of these; those of draws are below

Accuracies = Mapping[str, Sequence[float]]  # of the trainings of each architecture, by its text
Before = Mapping[str, Sequence[float | None]]  # the same of a table, a seed after the other
MakePredictor = Callable[[], Fitted]

_WITHIN = 0.9  # share that the intervals of finalists hold
_FOLDS, _ROUNDS = 4, 8  # parts that are held out, and how often trainings are parted
_RESAMPLES = 2_000


def trained_before(study: Study) -> Before:
    """What a table has, that the search started from: text to the accuracies of its seeds."""
    before: Before = study.user_attrs.get(BEFORE, {})
    return before


def known_before(before: Before) -> dict[str, list[float]]:
    """The accuracies that there are, of the architectures that have some."""
    by_text = {text: [value for value in of if value is not None] for text, of in before.items()}
    return {text: of for text, of in by_text.items() if of}


def trained_again(study: Study) -> dict[str, dict[int, Measurement]]:
    """The trainings of finalists with fresh seeds: text of the network to seed to measurement."""
    trained: dict[str, dict[int, Measurement]] = {}
    for key, record in study.user_attrs.get(AGAIN, {}).items():
        text, _, seed = key.rpartition(WITH_SEED)
        trained.setdefault(text, {})[int(seed)] = from_json(record, Measurement)
    return trained


def training_seeds(
    texts: Sequence[str], others: Sequence[tuple[str, int]], before: Before
) -> list[int]:
    """The seed of each next training: the smallest that no other one of its architecture has.

    ``others`` has the texts and seeds of the trainings so far, and ``before`` the seeds of a table
    from 0, those without an accuracy, which may have failed, among them.
    """
    used = set(others)
    seeds = []
    for text in texts:
        free = (n for n in itertools.count(len(before.get(text, ()))) if (text, n) not in used)
        seeds.append(next(free))
        used.add((text, seeds[-1]))
    return seeds


@dataclass(frozen=True)
class Trained:
    """An architecture of a search with all its trainings."""

    architecture: str  #: its text, as the search draws it
    number: int | None  #: place of its first draw among the trials; None for one of a table
    size: Cost  #: its parameters and multiply-adds
    accuracies: Sequence[float]  #: of its trainings, per cent; NaN where one failed
    reason: str = ""  #: why one failed, else empty
    family: str = ""  #: name of its space, in a search of several
    by_hand: bool = False  #: whether it is the network that is made of its family by hand
    origin: Origin = ""  #: why it was first drawn, in a search of several

    @property
    def accuracy(self) -> float:
        """The mean; NaN if a training failed: the others would flatter it."""
        return statistics.fmean(self.accuracies)

    @property
    def std(self) -> float:
        """Sample standard deviation, points; NaN for one training or if one failed."""
        if len(self.accuracies) < 2 or math.isnan(self.accuracy):
            return math.nan
        return statistics.stdev(self.accuracies)

    def with_one(self, training: Measurement | TrialRow) -> Trained:
        """With one more training."""
        accuracies = (*self.accuracies, training.values[ACCURACY])
        return replace(self, accuracies=accuracies, reason=self.reason or training.reason)


def gathered(
    rows: Sequence[TrialRow],
    before: Before,
    space: SearchSpace,
    limits: Limits,
    again: Mapping[str, Mapping[int, Measurement]],
) -> dict[str, Trained]:
    """All that was trained, by the text of the network: of a table, of a search, and again."""
    trained: dict[str, Trained] = {}
    for text, accuracies in known_before(before).items():
        arch = limits.shown(space.decode(limits.choices(space.parse(text))))
        size = limits.cost(arch)
        trained[text] = Trained(str(arch), None, size, tuple(accuracies))
    for row in rows:
        text = str(limits.network(space.parse(row.architecture)))
        size = Cost(row.params, row.macs)
        entry = trained.get(text, Trained(row.architecture, row.number, size, ()))
        trained[text] = replace(
            entry.with_one(row),
            number=row.number if entry.number is None else entry.number,
            origin=entry.origin if entry.accuracies else row.origin,
        )
    for text in trained.keys() & again.keys():
        for measurement in again[text].values():
            trained[text] = trained[text].with_one(measurement)
    if not space.branch:
        return trained
    by_hand = networks_by_hand(space, limits)
    return {
        text: replace(entry, family=space.family_of(text), by_hand=text in by_hand)
        for text, entry in trained.items()
    }


def networks_by_hand(space: SearchSpace, limits: Limits) -> set[str]:
    """Texts of the networks that one makes by hand, as large as in a search."""
    return {str(limits.network(space.parse(text))) for text in space.by_hand}


def finalists_of(
    trained: Mapping[str, Trained], make: MakePredictor | None, fresh: Accuracies
) -> list[Finalist]:
    """The architectures none of whose trainings failed, best first, those trained again before.

    ``trained`` and ``fresh``, the accuracies of those trained again, are by the text of the
    network. The best has the highest prediction, or mean accuracy without a predictor to ``make``,
    or with too few trainings to fit it to.
    """
    whole = {text: entry for text, entry in trained.items() if math.isfinite(entry.accuracy)}
    accuracies = {text: entry.accuracies for text, entry in whole.items()}
    predictions: Mapping[str, float] = {}
    if make is not None and sum(map(len, accuracies.values())) >= LEAST_TRAININGS:
        predictions = predicted(make, accuracies)
    finalists = [
        Finalist(
            architecture=entry.architecture,
            number=entry.number,
            likeliest=False,
            params=entry.size.params,
            macs=entry.size.macs,
            values={ACCURACY: entry.accuracy},
            again={},
            reason="",
            trainings=len(entry.accuracies),
            predicted=predictions.get(text, math.nan),
            confirmed=confirmed(fresh[text], whole) if text in fresh else None,
            family=entry.family,
            by_hand=entry.by_hand,
        )
        for text, entry in whole.items()
    ]
    return sorted(
        finalists, key=lambda row: (row.confirmed is not None, row.expected), reverse=True
    )


def confirmed(fresh: Sequence[float], trained: Mapping[str, Trained]) -> Confirmed:
    """What fresh trainings of a finalist tell of its accuracy.

    They owe less to luck than the trainings that made it a finalist; but the first of two is
    chosen by them, too. The interval is Student's, with the deviation between seeds of all
    architectures that were trained several times; where these agree exactly, that of
    :func:`seed_noise`.
    """
    trainings = [(text, value) for text, entry in trained.items() for value in entry.accuracies]
    squares, freedom = pooled_squares(trainings)
    variance = squares / freedom if squares else seed_noise(trainings) ** 2
    error = variance / len(fresh), max(freedom, 1)
    found = around(statistics.fmean(fresh), error, level=_WITHIN)
    return Confirmed(found.value, max(found.low, 0.0), min(found.high, 100.0), len(fresh))


def tradeoff(finalists: Sequence[Finalist]) -> list[Finalist]:
    """The finalists that none with as few multiply-adds beats, cheapest first."""
    points = [(finalist.expected, finalist.macs) for finalist in finalists]
    each = zip(points, finalists, non_dominated(points, ("higher", "lower")), strict=True)
    # In reverse, so that the first of equals stays.
    front = {at: finalist for at, finalist, on_front in reversed([*each]) if on_front}
    return [front[at] for at in sorted(front)]


def predicted(make: MakePredictor, accuracies: Accuracies) -> dict[str, float]:
    """What a predictor expects of each architecture, fitted to all trainings, in per cent."""
    texts = list(accuracies)
    mean, _ = make().fit(*_flat(accuracies, texts)).predict(texts)
    return dict(zip(texts, map(float, mean), strict=True))


def check_predictor(make: MakePredictor, accuracies: Accuracies, *, seed: int) -> PredictorCheck:
    """Judge a predictor on the trainings themselves, as ``PredictorCheck`` tells.

    Cost: 32 fits. Arguments as :func:`predicted`, and the seed of the parts and resamples.
    """
    texts = list(accuracies)
    measured = np.array([statistics.fmean(accuracies[text]) for text in texts])
    count = len(texts)
    if count < LEAST_JUDGED:
        return PredictorCheck(math.nan, NO_INTERVAL, ())
    rng = np.random.default_rng(draw_seed(seed, "check", count))
    agreed, together = np.zeros((2, count, count))
    sums = np.zeros((2, count))
    for _ in range(_ROUNDS):
        for part in np.array_split(rng.permutation(count), _FOLDS):
            rest = [texts[place] for place in np.setdiff1d(np.arange(count), part)]
            fitted = make().fit(*_flat(accuracies, rest))
            means, stds = fitted.predict([texts[place] for place in part])
            sums[0, part] += means
            sums[1, part] += stds
            pairs = np.ix_(part, part)
            order = signs(measured[part])
            agreed[pairs] += signs(means) * order
            together[pairs] += np.abs(order)  # equal accuracies have no order to predict
    held = sums / _ROUNDS
    rows = [
        HeldOut(text, len(accuracies[text]), float(measured[i]), float(held[0, i]), held[1, i])
        for i, text in enumerate(texts)
    ]
    weights = rng.multinomial(count, np.full(count, 1 / count), size=_RESAMPLES).astype(float)
    once = np.ones((1, count))
    both, ranked = (weighed(pairs, np.vstack([once, weights])) for pairs in (agreed, together))
    tau = estimate(np.divide(both, ranked, out=np.full(len(both), np.nan), where=ranked > 0))
    return PredictorCheck(tau.value, tau.interval, rows)


def _flat(accuracies: Accuracies, texts: Sequence[str]) -> tuple[list[str], list[float], float]:
    """What a predictor is fitted to: a row for each training of some architectures."""
    trainings = [(text, value) for text in texts for value in accuracies[text]]
    noise = seed_noise(trainings)
    return [text for text, _ in trainings], [value for _, value in trainings], noise

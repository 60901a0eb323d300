"""What a search that trains ends in: the accuracies of its trainings, and what they predict."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from asvit.core.codec import from_json
from asvit.reference.findings import NO_INTERVAL
from asvit.reference.statistics import interval_of, signs, weighed
from asvit.search.acquisition import Fitted, pooled_squares, seed_noise
from asvit.search.front import non_dominated
from asvit.search.rows import (
    LEAST_JUDGED,
    Confirmed,
    Finalist,
    HeldOut,
    Measurement,
    PredictorCheck,
    TrialRow,
)
from asvit.search.seeds import seed_for
from asvit.search.settings import ACCURACY
from asvit.spaces.architectures import cost
from proxies.counts import Cost

if TYPE_CHECKING:
    from optuna.study import Study

    from asvit.search.limits import Limits
    from asvit.spaces.base import SearchSpace

TRAINING = "training"  # user attribute of a trial: the trained architecture's text, and its seed
BEFORE = "trainings before"  # of the study: text to the accuracies of a table, None for none
AGAIN = "finalists trained again"  # of the study: text to seed to measurement
FRESH = 1000  # the first seed of these; those of draws are below

Accuracies = Mapping[str, Sequence[float]]  # of the trainings of each architecture, by its text
Before = Mapping[str, Sequence[float | None]]  # the same of a table, a seed after the other
MakePredictor = Callable[[], Fitted]

_WITHIN = 0.9  # share that the intervals of finalists hold
_FOLDS, _ROUNDS = 4, 8  # parts that are held out, and how often trainings are parted
_RESAMPLES = 2_000


def trained_before(study: Study) -> Before:
    """What a table has, that the search started from: text to the accuracies of its seeds."""
    kept: Before = study.user_attrs.get(BEFORE, {})
    return kept


def known_before(before: Before) -> dict[str, list[float]]:
    """The accuracies that there are, of the architectures that have some."""
    known = {text: [one for one in of if one is not None] for text, of in before.items()}
    return {text: of for text, of in known.items() if of}


def trained_again(study: Study) -> dict[str, dict[str, Measurement]]:
    """The trainings of finalists with fresh seeds: text of the network to seed to measurement."""
    stored = study.user_attrs.get(AGAIN, {})
    return {
        text: {seed: from_json(record, Measurement) for seed, record in records.items()}
        for text, records in stored.items()
    }


def training_seeds(
    texts: Sequence[str], taken: Sequence[tuple[str, int]], before: Before
) -> list[int]:
    """The seed of each next training: the smallest that no other one of its architecture has.

    ``taken`` has the seeds of the trainings so far, and ``before`` the seeds of a table from 0,
    those without an accuracy, which may have failed, among them.
    """
    used: dict[str, set[int]] = {}
    seeds = []
    for text, seed in taken:
        used.setdefault(text, set()).add(seed)
    for text in texts:
        mine = used.setdefault(text, set())
        seed = len(before.get(text, ()))
        while seed in mine:
            seed += 1
        mine.add(seed)
        seeds.append(seed)
    return seeds


@dataclass(frozen=True)
class Trained:
    """An architecture of a search with all its trainings."""

    architecture: str  #: its text, as the search draws it
    number: int | None  #: place of its first draw among the trials; None for one of a table
    size: Cost  #: its parameters and multiply-adds
    accuracies: Sequence[float]  #: of its trainings, per cent; NaN where one failed
    reason: str = ""  #: why one failed, else empty

    @property
    def accuracy(self) -> float:
        """The mean; NaN if a training failed: the others would flatter it."""
        return statistics.fmean(self.accuracies)


def gathered(
    rows: Sequence[TrialRow],
    before: Before,
    space: SearchSpace,
    limits: Limits,
    image_size: int,
    again: Mapping[str, Mapping[str, Measurement]],
) -> dict[str, Trained]:
    """All that was trained, by the text of the network: of a table, of a search, and again."""
    found: dict[str, Trained] = {}
    for text, accuracies in known_before(before).items():
        arch = limits.shown(space.decode(space.encode(space.parse(text))))
        size = cost(arch, image_size, limits.classes)
        found[text] = Trained(str(arch), None, size, tuple(accuracies))
    for row in rows:
        text = str(limits.network(space.parse(row.architecture)))
        size = Cost(row.params, row.macs)
        one = found.get(text, Trained(row.architecture, row.number, size, ()))
        found[text] = replace(
            one,
            number=row.number if one.number is None else one.number,
            accuracies=(*one.accuracies, row.values[ACCURACY]),
            reason=one.reason or row.reason,
        )
    for text, measurements in again.items():
        for measurement in measurements.values():
            one = found[text]
            found[text] = replace(
                one,
                accuracies=(*one.accuracies, measurement.values[ACCURACY]),
                reason=one.reason or measurement.reason,
            )
    return found


def finalists_of(
    trained: Mapping[str, Trained], make: MakePredictor | None, fresh: Accuracies
) -> list[Finalist]:
    """The architectures none of whose trainings failed, best first, those trained again before.

    ``trained`` and ``fresh``, the accuracies of those trained again, are by the text of the
    network. The best has the highest prediction, or mean accuracy without a predictor to ``make``.
    """
    whole = {text: one for text, one in trained.items() if math.isfinite(one.accuracy)}
    known: Mapping[str, float] = {}
    if make is not None and whole:
        known = predicted(make, {text: one.accuracies for text, one in whole.items()})
    found = [
        Finalist(
            architecture=one.architecture,
            number=one.number,
            likeliest=False,
            params=one.size.params,
            macs=one.size.macs,
            values={ACCURACY: one.accuracy},
            again={},
            reason="",
            trainings=len(one.accuracies),
            predicted=known.get(text, math.nan),
            confirmed=confirmed(fresh[text], whole) if text in fresh else None,
        )
        for text, one in whole.items()
    ]
    return sorted(found, key=lambda one: (one.confirmed is not None, _worth(one)), reverse=True)


def confirmed(fresh: Sequence[float], trained: Mapping[str, Trained]) -> Confirmed:
    """What fresh trainings of a finalist tell of its accuracy.

    They had no part in its choice, so their mean is not too high, as that of the trainings that it
    was chosen by. The interval is Student's, with the deviation between seeds of all architectures
    that were trained several times; where these agree exactly, that of :func:`seed_noise`.
    """
    trainings = [(text, value) for text, one in trained.items() for value in one.accuracies]
    squares, freedom = pooled_squares(trainings)
    noise = math.sqrt(squares / freedom) if squares else seed_noise(trainings)
    mean = statistics.fmean(fresh)
    away = float(stats.t.ppf((1 + _WITHIN) / 2, max(freedom, 1))) * noise / math.sqrt(len(fresh))
    return Confirmed(mean, max(mean - away, 0.0), min(mean + away, 100.0), len(fresh))


def _worth(one: Finalist) -> float:
    """Its predicted accuracy, or its mean without a predictor."""
    return one.predicted if math.isfinite(one.predicted) else one.values[ACCURACY]


def tradeoff(known: Sequence[Finalist]) -> list[Finalist]:
    """The finalists that none with as few multiply-adds beats, cheapest first."""
    points = [(_worth(one), one.macs) for one in known]
    each = zip(points, known, non_dominated(points, ("higher", "lower")), strict=True)
    found = {at: one for at, one, on_front in reversed([*each]) if on_front}  # the first of equals
    return [found[at] for at in sorted(found)]


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
    rng = np.random.default_rng(seed_for(seed, "check", count))
    agreed, together = np.zeros((2, count, count))
    sums = np.zeros((2, count))
    for _ in range(_ROUNDS):
        for part in np.array_split(rng.permutation(count), _FOLDS):
            kept = [texts[place] for place in np.setdiff1d(np.arange(count), part)]
            fitted = make().fit(*_flat(accuracies, kept))
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
    taus = np.divide(both, ranked, out=np.full(len(both), np.nan), where=ranked > 0)
    return PredictorCheck(float(taus[0]), interval_of(taus[1:]), rows)


def _flat(accuracies: Accuracies, texts: Sequence[str]) -> tuple[list[str], list[float], float]:
    """What a predictor is fitted to: a row for each training of some architectures."""
    known = [(text, value) for text in texts for value in accuracies[text]]
    return [text for text, _ in known], [value for _, value in known], seed_noise(known)

"""How a search ends: its finalists are evaluated again, and one of them is handed on."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from asvit.core.estimates import NO_INTERVAL
from asvit.reference.findings import LEAST_TRAININGS
from asvit.search.acquisition import Fitted, pooled_squares, seed_noise
from asvit.search.result import Confirmed, Finalist, PredictorCheck
from asvit.search.rows import BEST, Measurement, TrialRow, best_rows, objectives
from asvit.search.sampler import ReinforceSampler, draw_seed, measured_trials
from asvit.search.settings import ACCURACY, FINALISTS, PREDICTOR
from asvit.search.study import stored
from asvit.statistics.intervals import around
from asvit.statistics.ranks import estimate, signs, weighed
from proxies.counts import Cost
from scaling.ranking import Directions, rank_sums

if TYPE_CHECKING:
    from optuna.study import Study

    from asvit.core.progress import Tell
    from asvit.measuring.latency import Latency
    from asvit.search.limits import Limits
    from asvit.search.loop import Search
    from asvit.search.objective import EvaluateAll
    from asvit.search.settings import SearchSettings
    from asvit.spaces import SearchSpace
    from asvit.spaces.base import Architecture

MakePredictor = Callable[[], Fitted]
Time = Callable[["Architecture"], "Latency | None"]  # of a finalist's network, None without limit
Accuracies = Mapping[str, Sequence[float]]  # of the trainings of each architecture, by its text

# Attributes of the study; see Search.beside.
_UNDRAWN, _AGAIN = "measured beside the draws", "finalists on {} networks"
_RETRAINED = "finalists trained again"
_WITH_SEED = " with seed "  # between text and seed
FRESH = 1000  # the first seed of finalists' trainings; those of draws are below

_WITHIN = 0.9  # share that the intervals of finalists hold
_FOLDS, _ROUNDS = 4, 8  # parts that are held out, and how often trainings are parted
_RESAMPLES = 2_000
_LEAST_JUDGED = 8  # architectures, of which a ranking can be judged


class Conclusion(NamedTuple):
    """What a search ends in: fields of :class:`asvit.search.result.SearchResult`."""

    seed: Finalist  # that it hands on
    finalists: Sequence[Finalist]
    retrainings: int = 0
    predictor: PredictorCheck | None = None


@dataclass(frozen=True)
class Trained:
    """An architecture of a search with all its trainings."""

    architecture: str  # its text, as the search draws it
    number: int  # place of its first draw among the trials
    size: Cost
    accuracies: Sequence[float]  # of its trainings, per cent; NaN where one failed
    reason: str = ""  # why one failed, else empty
    family: str = ""  # name of its space, in a search of several
    by_hand: bool = False  # whether it is the network that is made of its family by hand

    @property
    def accuracy(self) -> float:
        """The mean; NaN if a training failed: the others would flatter it."""
        return statistics.fmean(self.accuracies)

    def with_one(self, training: Measurement | TrialRow) -> Trained:
        """With one more training."""
        accuracies = (*self.accuracies, training.values[ACCURACY])
        return replace(self, accuracies=accuracies, reason=self.reason or training.reason)


def conclude_measured(
    search: Search,
    limits: Limits,
    settings: SearchSettings,
    tell: Tell,
    *,
    again: EvaluateAll | None = None,
    time: Time = lambda _arch: None,
) -> Conclusion:
    """Measure the finalists on fresh networks by ``again``, and choose one.

    The best of many noisy values owes much to luck, which fresh networks take away.
    """
    space, better = search.space, search.objective.better
    candidates, likeliest = _candidates(search, limits)
    every = {text: (arch, 0) for text, arch in candidates.items()}
    undrawn = {text: one for text, one in every.items() if text not in search.measurements}
    for _ in search.beside(_UNDRAWN, undrawn, search.objective.evaluate):
        pass
    name = _AGAIN.format(settings.recheck)
    if again is not None:
        for progress in search.beside(name, every, again):
            tell(progress)
    first = {row.architecture: row.number for row in reversed(search.rows)}
    known = {**stored(search.study, _UNDRAWN), **search.measurements}
    fresh = stored(search.study, name)
    finalists = [
        Finalist(
            architecture=text,
            latency=time(arch),
            number=first.get(text),
            likeliest=text == likeliest,
            params=known[text].params,
            macs=known[text].macs,
            values={name: known[text].values[name] for name in better},
            again=fresh[text].values if text in fresh else {},
            reason=known[text].reason,
            family=space.family_of(text) if space.branch else "",
            by_hand=str(limits.network(arch)) in limits.by_hand,
        )
        for text, arch in candidates.items()
    ]
    fast = _fast_enough(finalists, settings.max_latency)
    return Conclusion(picked(fast, better, settings.pick), finalists)


def _candidates(search: Search, limits: Limits) -> tuple[Mapping[str, Architecture], str | None]:
    """The finalists by their texts, and which of them is the policy's likeliest.

    That one comes first, then the ten with the smallest sums of dense ranks.
    """
    best = best_rows(search.rows, search.objective.better)
    if not best:
        raise search.failure()
    sampler, trials = search.study.sampler, measured_trials(search.study)
    params = [trials[row.number].params for row in best]
    if isinstance(sampler, ReinforceSampler):
        likeliest = sampler.likeliest(search.study)
        if limits.excess(search.space.decode(likeliest)) is None:
            params.insert(0, likeliest)
    architectures = [limits.shown(search.space.decode(choices)) for choices in params]
    candidates = {str(arch): arch for arch in architectures}
    return candidates, next(iter(candidates)) if len(params) > len(best) else None


def picked(finalists: Sequence[Finalist], better: Directions, how: str) -> Finalist:
    """The finalist that a search by measures hands on.

    With ``how="policy"`` it is the first one. With ``"measured"`` it is the one with the smallest
    sum of dense ranks among the finalists, by what measuring them again gave (or by their values,
    where nothing was measured again); the first of equals, and the first of all where none has
    every value.
    """
    goals = objectives(better)
    measured = [(finalist, finalist.again or finalist.values) for finalist in finalists]
    valid = [one for one in measured if all(math.isfinite(one[1][name]) for name in goals)]
    if how == "policy" or not valid:
        return finalists[0]
    sums = rank_sums({name: [values[name] for _, values in valid] for name in goals}, goals)
    return valid[min(range(len(valid)), key=sums.__getitem__)][0]


def conclude_trained(
    search: Search,
    limits: Limits,
    settings: SearchSettings,
    tell: Tell,
    *,
    time: Time = lambda _arch: None,
) -> Conclusion:
    """Train two finalists with fresh seeds, and choose the one that is predicted better.

    With too few that did not fail for a predictor, it is the one of the higher mean, and with too
    few trainings to train again the best of all.
    """
    parse = search.space.parse
    make: MakePredictor | None = None
    if settings.controller == PREDICTOR:
        from asvit.predictor import Predictor  # scikit-learn, which other searches do not need

        make = partial(Predictor, settings.image_size)

    def best(again: Mapping[str, Sequence[Measurement]]) -> Sequence[Finalist]:
        trained = gathered(search.rows, search.space, limits, again)
        fresh = {text: [one.values[ACCURACY] for one in of] for text, of in again.items()}
        ranked = finalists_of(trained, make, fresh)[:BEST]
        return [replace(one, latency=time(parse(one.architecture))) for one in ranked]

    again: dict[str, Sequence[Measurement]] = {}
    if settings.final_trainings:
        fast = _fast_enough(best({}), settings.max_latency)[:FINALISTS]
        texts = {str(limits.network(parse(one.architecture))): one for one in fast}
        wanted = {
            f"{text}{_WITH_SEED}{FRESH + place}": (parse(one.architecture), FRESH + place)
            for place in range(settings.final_trainings)
            for text, one in texts.items()
        }
        for progress in search.beside(_RETRAINED, wanted, search.objective.evaluate):
            tell(progress)
        # Those that a shorter search ended in are not among them.
        again = {text: of for text, of in retrained(search.study).items() if text in texts}
    finalists = best(again)
    if not finalists:
        raise search.failure("a training of every architecture" if search.any_valid else "")
    seed = _fast_enough(finalists, settings.max_latency)[0]
    check = None
    if make is not None:
        whole = gathered(search.rows, search.space, limits, again)
        accuracies = {text: one.accuracies for text, one in whole.items() if not one.reason}
        if sum(map(len, accuracies.values())) >= LEAST_TRAININGS:
            check = check_predictor(make, accuracies, seed=settings.seed)
    return Conclusion(seed, finalists, sum(map(len, again.values())), check)


def retrained(study: Study) -> dict[str, list[Measurement]]:
    """The trainings of finalists with fresh seeds, by the text of the network."""
    trainings: dict[str, list[Measurement]] = {}
    for key, measurement in stored(study, _RETRAINED).items():
        trainings.setdefault(key.rpartition(_WITH_SEED)[0], []).append(measurement)
    return trainings


def _fast_enough(finalists: Sequence[Finalist], most: float | None) -> Sequence[Finalist]:
    """Finalists within the latency limit when they are timed again; all if none is."""
    return [
        one
        for one in finalists
        if most is None or one.latency is None or one.latency.milliseconds <= most
    ] or finalists


def gathered(
    rows: Sequence[TrialRow],
    space: SearchSpace,
    limits: Limits,
    again: Mapping[str, Sequence[Measurement]],
) -> dict[str, Trained]:
    """All that was trained, by the text of the network; ``again`` are trainings of finalists."""
    trained: dict[str, Trained] = {}
    for row in rows:
        text = str(limits.network(space.parse(row.architecture)))
        if text not in trained:
            family = space.family_of(text) if space.branch else ""
            by_hand = bool(family) and text in limits.by_hand
            size = Cost(row.params, row.macs)
            trained[text] = Trained(row.architecture, row.number, size, (), "", family, by_hand)
        trained[text] = trained[text].with_one(row)
    for text in trained.keys() & again.keys():
        for measurement in again[text]:
            trained[text] = trained[text].with_one(measurement)
    return trained


def finalists_of(
    trained: Mapping[str, Trained], make: MakePredictor | None, fresh: Accuracies
) -> list[Finalist]:
    """The architectures none of whose trainings failed, best first, those trained again before.

    ``trained`` and ``fresh``, the accuracies of those trained again, are by the text of the
    network. The best has the highest prediction, or mean accuracy without a predictor to ``make``,
    or with too few trainings to fit it to.
    """
    whole = {text: entry for text, entry in trained.items() if math.isfinite(entry.accuracy)}
    trainings = _trainings({text: entry.accuracies for text, entry in whole.items()})
    predictions: Mapping[str, float] = {}
    if make is not None and len(trainings) >= LEAST_TRAININGS:
        mean, _ = _fitted(make, trainings).predict([*whole])
        predictions = dict(zip(whole, map(float, mean), strict=True))
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
            confirmed=confirmed(fresh[text], trainings) if text in fresh else None,
            family=entry.family,
            by_hand=entry.by_hand,
        )
        for text, entry in whole.items()
    ]
    return sorted(
        finalists, key=lambda row: (row.confirmed is not None, row.expected), reverse=True
    )


def confirmed(fresh: Sequence[float], trainings: Sequence[tuple[str, float]]) -> Confirmed:
    """What fresh trainings of a finalist tell of its accuracy.

    They owe less to luck than the trainings that made it a finalist; but the first of two is
    chosen by them, too. The interval is Student's, with the deviation between seeds of all
    architectures that were trained several times, ``trainings``; where these agree exactly, that
    of :func:`seed_noise`.
    """
    squares, freedom = pooled_squares(trainings)
    variance = squares / freedom if squares else seed_noise(trainings) ** 2
    error = variance / len(fresh), max(freedom, 1)
    estimate = around(statistics.fmean(fresh), error, level=_WITHIN)
    return Confirmed(estimate.value, max(estimate.low, 0.0), min(estimate.high, 100.0), len(fresh))


def check_predictor(make: MakePredictor, accuracies: Accuracies, *, seed: int) -> PredictorCheck:
    """Judge a predictor on the trainings themselves, as ``PredictorCheck`` tells, by 32 fits.

    ``seed`` is that of the parts and of the resamples.
    """
    texts = list(accuracies)
    measured = np.array([statistics.fmean(accuracies[text]) for text in texts])
    count = len(texts)
    if count < _LEAST_JUDGED:
        return PredictorCheck(math.nan, NO_INTERVAL)
    rng = np.random.default_rng(draw_seed(seed, "check", count))
    agreed, together = np.zeros((2, count, count))
    for _ in range(_ROUNDS):
        for part in np.array_split(rng.permutation(count), _FOLDS):
            rest = [texts[place] for place in np.setdiff1d(np.arange(count), part)]
            fitted = _fitted(make, _trainings({text: accuracies[text] for text in rest}))
            means, _ = fitted.predict([texts[place] for place in part])
            pairs = np.ix_(part, part)
            order = signs(measured[part])
            agreed[pairs] += signs(means) * order
            together[pairs] += np.abs(order)  # equal accuracies have no order to predict
    weights = rng.multinomial(count, np.full(count, 1 / count), size=_RESAMPLES).astype(float)
    once = np.ones((1, count))
    both, ranked = (weighed(pairs, np.vstack([once, weights])) for pairs in (agreed, together))
    tau = estimate(np.divide(both, ranked, out=np.full(len(both), np.nan), where=ranked > 0))
    return PredictorCheck(tau.value, tau.interval, count)


def _trainings(accuracies: Accuracies) -> list[tuple[str, float]]:
    return [(text, value) for text, values in accuracies.items() for value in values]


def _fitted(make: MakePredictor, trainings: Sequence[tuple[str, float]]) -> Fitted:
    texts, values = zip(*trainings, strict=True)
    return make().fit(texts, values, seed_noise(trainings))

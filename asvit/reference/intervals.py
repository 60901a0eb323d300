"""Confidence intervals of means and of differences between proportions, for small samples."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from asvit.reference.findings import NO_INTERVAL, Interval

#: Coverage of the intervals.
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval."""

    value: float
    interval: Interval  # both ends are NaN if a sample has a single value


@dataclass(frozen=True)
class PairedDifference(Estimate):
    """A difference between two proportions of the same cases."""

    p: float  # of McNemar's exact test of no difference


def contrast(*terms: tuple[float, ArrayLike]) -> Estimate:
    """A weighted sum of means of independent samples.

    The interval is Student's for one sample and Welch's for a difference of two. Their coverage
    holds even for three values, where bootstrap intervals are too narrow. A term is the weight of
    a mean, and the values of its sample, ``[values]``.
    """
    samples = [(weight, np.asarray(values, dtype=np.float64)) for weight, values in terms]
    value = float(sum(weight * values.mean() for weight, values in samples))
    if any(len(values) < 2 for _, values in samples):
        return Estimate(value, NO_INTERVAL)
    errors = [
        (weight**2 * float(values.var(ddof=1)) / len(values), len(values) - 1)
        for weight, values in samples
    ]
    return around(value, *errors)


def around(value: float, *errors: tuple[float, int]) -> Estimate:
    """The interval of a sum with independent errors: each a variance and its degrees of freedom.

    References:
        Welch 1947, "The generalization of 'Student's' problem when several different population
        variances are involved", with the degrees of freedom of Satterthwaite 1946.
    """
    total = sum(variance for variance, _ in errors)
    if not total:
        return Estimate(value, Interval(value, value))
    freedom = total**2 / sum(variance**2 / own for variance, own in errors)
    away = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom)) * math.sqrt(total)
    return Estimate(value, Interval(value - away, value + away))


def wilson(successes: int, cases: int) -> Interval:
    """Wilson's interval of a proportion, between 0 and 1."""
    share = stats.binomtest(successes, cases).proportion_ci(CONFIDENCE, method="wilson")
    return Interval(float(share.low), float(share.high))


def paired_difference(ours: ArrayLike, theirs: ArrayLike) -> PairedDifference:
    """The difference between the shares of right answers of two classifiers on the same cases.

    Newcombe's interval holds for few cases, and if the two never differ; its width depends on how
    often they differ.

    Both arguments are ``[cases]``: whether the classifier was right.

    References:
        Newcombe 1998, "Improved confidence intervals for the difference between binomial
        proportions based on paired data", method 10.
    """
    left, right = np.asarray(ours, dtype=bool), np.asarray(theirs, dtype=bool)
    cases = len(left)
    both, neither = int((left & right).sum()), int((~left & ~right).sum())
    more, less = int((left & ~right).sum()), int((~left & right).sum())
    share, other = (both + more) / cases, (both + less) / cases
    ends, others = wilson(both + more, cases), wilson(both + less, cases)
    product = math.sqrt((both + more) * (both + less) * (less + neither) * (more + neither))
    agreeing = float(both * neither - more * less)
    if agreeing > 0:
        agreeing = max(agreeing - cases / 2, 0.0)
    phi = agreeing / product if product else 0.0

    def away(near: float, far: float) -> float:
        return math.sqrt(max(near**2 - 2 * phi * near * far + far**2, 0.0))

    value = share - other
    low = value - away(share - ends.low, others.high - other)
    high = value + away(ends.high - share, other - others.low)
    p = stats.binomtest(more, more + less).pvalue if more + less else 1.0
    return PairedDifference(value, Interval(low, high), float(p))

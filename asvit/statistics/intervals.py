"""Confidence intervals of means and of differences between proportions, for small samples."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from asvit.core.estimates import CONFIDENCE, Estimate

#: Cases with the mean share that each group gets. With 2, up to a point less is covered.
_POOLED = 3

Array = NDArray[np.float64]


def contrast(*terms: tuple[float, ArrayLike]) -> Estimate:
    """A weighted sum of means of independent samples.

    The interval is Student's for one sample and Welch's for a difference of two. Their coverage
    holds even for three values, where bootstrap intervals are too narrow. A term is the weight of
    a mean, and the values of its sample, ``[values]``.
    """
    samples = [(weight, np.asarray(values, dtype=np.float64)) for weight, values in terms]
    value = float(sum(weight * values.mean() for weight, values in samples))
    if any(len(values) < 2 for _, values in samples):
        return Estimate(value)
    errors = [
        (weight**2 * float(values.var(ddof=1)) / len(values), len(values) - 1)
        for weight, values in samples
    ]
    return around(value, *errors)


def around(value: float, *errors: tuple[float, int], level: float = CONFIDENCE) -> Estimate:
    """The interval of a sum with independent errors: each a variance and its degrees of freedom.

    Without any variance there is none: few rounded values that agree do not make the sum certain.

    References:
        Welch 1947, "The generalization of 'Student's' problem when several different population
        variances are involved", with the degrees of freedom of Satterthwaite 1946.
    """
    total = sum(variance for variance, _ in errors)
    if not total:
        return Estimate(value, level=level)
    freedom = total**2 / sum(variance**2 / own for variance, own in errors)
    low, high = stats.t.interval(level, freedom, loc=value, scale=math.sqrt(total))
    return Estimate(value, float(low), float(high), level)


def proportion(successes: int, cases: int) -> Estimate:
    """A proportion, 0 to 1, with Wilson's interval."""
    share = stats.binomtest(successes, cases).proportion_ci(CONFIDENCE, method="wilson")
    return Estimate(successes / cases, float(share.low), float(share.high))


def combined(*terms: tuple[float, Estimate]) -> Estimate:
    """A weighted sum of independent estimates, with an interval made of theirs (MOVER).

    For the difference of two proportions with Wilson's intervals it is Newcombe's hybrid score
    interval. A term is a weight and an estimate; NaN ends give NaN ends.

    References:
        Zou and Donner 2008, "Construction of confidence limits about effect measures";
        Newcombe 1998, "Interval estimation for the difference between independent proportions".
    """
    value, below, above = 0.0, 0.0, 0.0
    for weight, term in terms:
        ends = [weight * (end - term.value) for end in term.interval]
        value += weight * term.value
        below += min(ends) ** 2
        above += max(ends) ** 2
    return Estimate(value, value - math.sqrt(below), value + math.sqrt(above), terms[0][1].level)


def weighted_proportions(*groups: tuple[float, int, int]) -> Estimate:
    """A weighted sum of proportions of independent groups, such as the mean recall of classes.

    A group is a weight, successes and cases; weights are not 0. An interval of resamples within
    the groups is too narrow where a small group has no failure. Price and Bonett's is too narrow
    for many groups of one or two cases: here the variance is that of shares drawn toward their
    mean.

    References:
        Price and Bonett 2004, "An improved confidence interval for a linear function of binomial
        proportions".
    """
    weights, right, cases = np.array(groups, dtype=np.float64).T
    more = 2 / len(groups)  # successes, and as many failures
    sizes = cases + 2 * more
    shares = (right + more) / sizes
    smooth = _toward_mean(shares, sizes, np.average(shares, weights=np.abs(weights)))
    variance = weights**2 @ (smooth * (1 - smooth) / sizes)
    low, high = weights.clip(max=0).sum(), weights.clip(min=0).sum()
    return _normal(float(weights @ (right / cases)), weights @ shares, variance, low, high)


def balanced_accuracy(classes: Sequence[ArrayLike]) -> Estimate:
    """The mean over classes of the share of right answers, 0 to 1; see the above.

    Each class has whether the answer about each of its cases is right, ``[cases]``.
    """
    shares = [np.asarray(right, dtype=bool) for right in classes]
    return weighted_proportions(
        *((1 / len(shares), int(right.sum()), len(right)) for right in shares)
    )


def stratified_difference(ours: ArrayLike, theirs: ArrayLike, strata: ArrayLike) -> Estimate:
    """The mean over strata of the difference of two classifiers on the same cases.

    With classes as strata it is the difference of their balanced accuracies, -1 to 1.

    All arguments are ``[cases]``: whether each classifier was right, and the case's stratum.

    References:
        Bonett and Price 2012, "Adjusted Wald confidence interval for a difference of binomial
        proportions based on paired data"; the two cases that it adds are shared by the strata,
        and the variance is that of shares drawn toward their mean.
    """
    left, right = np.asarray(ours, dtype=bool), np.asarray(theirs, dtype=bool)
    groups = np.unique(np.asarray(strata), return_inverse=True)[1]
    cases = np.bincount(groups).astype(np.float64)
    gained, lost = (np.bincount(groups, won) for won in (left & ~right, ~left & right))
    more = 1 / len(cases)
    sizes = cases + 2 * more
    up, down = (gained + more) / sizes, (lost + more) / sizes
    gains, losses = (_toward_mean(shares, sizes, shares.mean()) for shares in (up, down))
    variances = (gains + losses - (gains - losses) ** 2) / sizes
    value = float(((gained - lost) / cases).mean())
    return _normal(value, (up - down).mean(), variances.mean() / len(cases), -1.0, 1.0)


def _toward_mean(shares: Array, sizes: Array, mean: float) -> Array:
    """Shares of groups drawn toward their mean, ``[groups]``.

    One case has share 0 or 1, from which alone its variance would be almost 0.
    """
    return (sizes * shares + _POOLED * mean) / (sizes + _POOLED)


def _normal(value: float, centre: float, variance: float, low: float, high: float) -> Estimate:
    """A value with the normal interval around a centre, inside the bounds of the value."""
    ends = stats.norm.interval(CONFIDENCE, loc=centre, scale=math.sqrt(variance))
    below, above = (float(min(max(end, low), high)) for end in ends)
    return Estimate(value, below, above)


def paired_difference(ours: ArrayLike, theirs: ArrayLike) -> Estimate:
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
    own, other = proportion(both + more, cases), proportion(both + less, cases)
    product = math.sqrt((both + more) * (both + less) * (less + neither) * (more + neither))
    agreeing = float(both * neither - more * less)
    if agreeing > 0:
        agreeing = max(agreeing - cases / 2, 0.0)
    phi = agreeing / product if product else 0.0

    def away(near: float, far: float) -> float:
        return math.sqrt(max(near**2 - 2 * phi * near * far + far**2, 0.0))

    value = own.value - other.value
    low = value - away(own.value - own.low, other.high - other.value)
    high = value + away(own.high - own.value, other.value - other.low)
    p = stats.binomtest(more, more + less).pvalue if more + less else 1.0
    return Estimate(value, low, high, p=float(p))

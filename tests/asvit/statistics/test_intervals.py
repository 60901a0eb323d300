import math
from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from asvit.statistics.intervals import (
    balanced_accuracy,
    combined,
    contrast,
    paired_difference,
    proportion,
    stratified_difference,
    weighted_proportions,
)


def cases(
    both: int, ours: int, theirs: int, neither: int
) -> tuple[Sequence[bool], Sequence[bool]]:
    """Cases of which two networks, one of them or none is right."""
    left = [True] * (both + ours) + [False] * (theirs + neither)
    return [left, [True] * both + [False] * ours + [True] * theirs + [False] * neither]


def test_contrasts_agree_with_scipy() -> None:
    one, other = [3.0, 5.0, 4.5], [1.0, 9.0, 2.0, 4.0, 4.0]
    expected = stats.ttest_ind(one, other, equal_var=False).confidence_interval()
    found = contrast((1, one), (-1, other))
    assert found.value == pytest.approx(np.mean(one) - np.mean(other))
    assert found.interval == pytest.approx((expected.low, expected.high))
    alone = stats.ttest_1samp(other, 0).confidence_interval()
    assert contrast((1, other)).interval == pytest.approx((alone.low, alone.high))
    half = contrast((0.5, one), (-0.5, other))
    assert half.interval == pytest.approx([end / 2 for end in found.interval])


def test_paired_differences_are_those_of_newcombe() -> None:
    found = paired_difference(*cases(36, 12, 2, 0))  # an example of the paper
    assert found.value == pytest.approx(0.2)
    assert found.interval == pytest.approx((0.0569, 0.3404), abs=5e-5)
    assert found.p == pytest.approx(stats.binomtest(12, 14).pvalue)
    mirrored = paired_difference(*cases(36, 2, 12, 0))
    assert mirrored.interval == pytest.approx((-0.3404, -0.0569), abs=5e-5)


def test_unpaired_differences_are_those_of_newcombe() -> None:
    found = combined((1, proportion(56, 70)), (-1, proportion(48, 80)))  # the paper's example (a)
    assert found.value == pytest.approx(0.2)
    assert found.interval == pytest.approx((0.0524, 0.3339), abs=5e-5)
    mirrored = combined((1, proportion(48, 80)), (-1, proportion(56, 70)))
    assert mirrored.interval == pytest.approx((-0.3339, -0.0524), abs=5e-5)


def test_one_group_has_the_interval_of_agresti_and_coull() -> None:
    for right, count in ((7, 10), (0, 5), (30, 30)):
        share, size = (right + 2) / (count + 4), count + 4
        away = stats.norm.ppf(0.975) * math.sqrt(share * (1 - share) / size)
        found = weighted_proportions((1, right, count))
        assert found.value == right / count
        assert found.interval == pytest.approx((max(share - away, 0), min(share + away, 1)))


def test_balanced_accuracy_is_the_mean_recall_with_an_interval_like_price_and_bonetts() -> None:
    classes = [[True] * 8 + [False] * 2, [True, False, True], [True] * 5]
    found = balanced_accuracy(classes)
    assert found.value == pytest.approx((0.8 + 2 / 3 + 1) / 3)
    shares = [(sum(own) + 2 / 3) / (len(own) + 4 / 3) for own in classes]
    spread = 0.0
    for share, own in zip(shares, classes, strict=True):
        size = len(own) + 4 / 3
        drawn = (size * share + 3 * np.mean(shares)) / (size + 3)
        spread += drawn * (1 - drawn) / size
    away = 1.959964 * math.sqrt(spread) / 3
    assert found.interval.low == pytest.approx(np.mean(shares) - away, abs=1e-6)
    assert found.interval.high == pytest.approx(min(np.mean(shares) + away, 1), abs=1e-6)


def test_a_difference_over_strata_is_the_mean_of_theirs() -> None:
    ours = [True] * 9 + [False] + [True, False, False]
    theirs = [True] * 6 + [False] * 4 + [True, True, False]
    strata = ["a"] * 10 + ["b"] * 3
    found = stratified_difference(ours, theirs, strata)
    assert found.value == pytest.approx((3 / 10 - 1 / 3) / 2)
    sizes, more = (10 + 1, 3 + 1), 0.5
    up, down = (3 + more, 0 + more), (0 + more, 1 + more)
    shares = np.array([up, down]) / sizes
    centre = float(np.mean(shares[0] - shares[1]))
    more_up, more_down = (
        [(own * n + 3 * row.mean()) / (n + 3) for own, n in zip(row, sizes, strict=True)]
        for row in shares
    )
    rows = zip(more_up, more_down, sizes, strict=True)
    away = 1.959964 * math.sqrt(sum((u + d - (u - d) ** 2) / n for u, d, n in rows)) / 2
    assert found.interval == pytest.approx((centre - away, centre + away), abs=1e-6)
    mirrored = stratified_difference(theirs, ours, strata)
    assert mirrored.interval == pytest.approx([-end for end in found.interval[::-1]])


def test_one_stratum_has_the_interval_of_bonett_and_price() -> None:
    ours, theirs = cases(36, 12, 2, 0)
    found = stratified_difference(ours, theirs, [0] * 50)
    up, down = 13 / 52, 3 / 52
    away = 1.959964 * math.sqrt((up + down - (up - down) ** 2) / 52)
    assert found.interval == pytest.approx((up - down - away, up - down + away), abs=1e-6)

import math
from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from asvit.reference.intervals import contrast, paired_difference


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


def test_one_value_has_no_interval() -> None:
    found = contrast((1, [3.0]), (-1, [1.0, 2.0]))
    assert found.value == 1.5
    assert all(map(math.isnan, found.interval))


def test_paired_differences_are_those_of_newcombe() -> None:
    found = paired_difference(*cases(36, 12, 2, 0))  # an example of the paper
    assert found.value == pytest.approx(0.2)
    assert found.interval == pytest.approx((0.0569, 0.3404), abs=5e-5)
    assert found.p == pytest.approx(stats.binomtest(12, 14).pvalue)
    mirrored = paired_difference(*cases(36, 2, 12, 0))
    assert mirrored.interval == pytest.approx((-0.3404, -0.0569), abs=5e-5)


@pytest.mark.parametrize("both", [0, 10, 20])
def test_no_difference_in_few_cases_is_not_sure(both: int) -> None:
    found = paired_difference(*cases(both, 0, 0, 20 - both))
    assert found.p == 1.0
    assert found.interval.low < -0.05
    assert found.interval.high > 0.05


def test_four_of_64_show_nothing() -> None:
    for both in (0, 30, 56, 60):
        found = paired_difference(*cases(both, 4, 0, 60 - both))
        assert found.interval.low < 0 < found.interval.high
        assert found.p == 0.125

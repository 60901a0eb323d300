"""Ranks and their logarithms, by hand and against scipy's."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

from proxies import az_nas_aggregate

NAN = math.nan


def test_by_hand() -> None:
    # Ranks of three: 1 2 3 and 3 2 1, then 1 1.5 ... with a tie.
    assert az_nas_aggregate([1, 2, 3]) == pytest.approx(np.log([1 / 3, 2 / 3, 1]))
    found = az_nas_aggregate([0.1, 7, 8], [30, 20, 10])
    assert found == pytest.approx(np.log([1 / 3, 4 / 9, 1 / 3]))
    assert az_nas_aggregate([5, 5, 1]) == pytest.approx(np.log([2.5 / 3, 2.5 / 3, 1 / 3]))


def test_a_low_rank_costs_more_than_a_high_one_earns() -> None:
    even, uneven = az_nas_aggregate([2, 3, 1, 0], [2, 0, 1, 3])[[0, 1]]
    assert even > uneven


def test_what_has_no_value_is_not_ranked_and_does_not_count() -> None:
    found = az_nas_aggregate([1, NAN, 3, 2], [1, 2, 3, NAN])
    np.testing.assert_allclose(found, [2 * math.log(1 / 2), NAN, 0, NAN])
    assert np.isnan(az_nas_aggregate([NAN, 1.0], [1.0, NAN])).all()
    assert az_nas_aggregate([]).shape == (0,)


@given(st.integers(1, 4), st.integers(1, 12), st.randoms(use_true_random=False))
def test_ranks_are_scipys_mean_ranks(measures, size, random) -> None:
    table = np.array([[random.randrange(5) for _ in range(size)] for _ in range(measures)])
    expected = sum(np.log(rankdata(row) / size) for row in table)
    np.testing.assert_allclose(az_nas_aggregate(*table), expected)


@pytest.mark.parametrize(
    ("measures", "message"),
    [
        ((), "measures have shapes none"),
        (([1, 2], [1, 2, 3]), r"measures have shapes \(2,\), \(3,\); use one or more of the same"),
        (([[1, 2]],), r"measures have shapes \(1, 2\)"),
    ],
)
def test_measures_that_do_not_fit(measures, message) -> None:
    with pytest.raises(ValueError, match=message):
        az_nas_aggregate(*measures)

"""The whole of what is said about a measure."""

import math

import numpy as np
import pytest
from hypothesis import assume
from hypothesis import strategies as st

from asvit.reference import load_reference
from asvit.reference.correlate import best_count, compared, correlate
from asvit.statistics.ranks import kendall, resampled_tau, resamples

POINTS = ("tau", "difference")


@st.composite
def measured(draw, *, least=5):
    """A measure, accuracies and a count, in whole numbers with ties."""
    rows = draw(st.integers(least, 14))
    of_rows = [
        np.array(draw(st.lists(st.integers(low, 9), min_size=rows, max_size=rows)), dtype=float)
        for low in (-9, 0, 0)
    ]
    for values in of_rows:
        assume(len(set(values)) > 1)
    return of_rows


def points(values, accuracies, count, better="higher"):
    correlation = correlate(
        values, accuracies, better=better, counts={"params": count}, samples=20
    )
    return [getattr(correlation, name) for name in POINTS]


def test_a_table_by_other_means():
    table = load_reference("vitbench101-pit")
    accuracies = table.accuracies["c100_base_acc"]
    found = correlate(
        table.macs,
        accuracies,
        better="higher",
        counts={"params": table.params, "macs": table.macs},
    )
    assert (found.n, found.dropped, found.reason) == (100, 0, "")
    assert found.tau == pytest.approx(0.7012, abs=5e-5)
    assert (found.rival, found.difference) == ("params", pytest.approx(0.7012 - 0.7163, abs=5e-5))
    assert found.tau_interval.low < found.tau < found.tau_interval.high
    assert found.difference_interval.low < found.difference < found.difference_interval.high


@pytest.mark.parametrize(
    ("values", "accuracies", "reason"),
    [
        ([3, 3, 3, 3, 3], [1, 2, 3, 4, 5], "the measure is the same for all rows"),
        ([1, 2, 3, 4, 5], [3, 3, 3, 3, 3], "the accuracy is the same for all rows"),
        ([1, 2, 3], [1, 2, 3], "3 row(s) have both"),
        ([], [], "0 row(s) have both"),
    ],
)
def test_nothing_to_rank(values, accuracies, reason):
    counts = {"params": [1.0] * len(values)}
    found = correlate(values, accuracies, better="higher", counts=counts)
    assert reason in found.reason
    assert all(math.isnan(getattr(found, name)) for name in POINTS)
    assert math.isnan(found.tau_interval.low)
    assert found.rival == ""


def test_the_best_count_is_the_rival():
    y = np.arange(6.0)
    counts = {
        "same": np.ones(6),
        "against": -y,
        "near": np.array([0, 1, 2, 4, 3, 5.0]),
        "unknown": np.array([0, 1, 2, 3, 4, math.nan]),
    }
    assert best_count(counts, y) == ("near", pytest.approx(13 / 15))
    assert best_count({"against": -y}, y) == ("against", pytest.approx(-1))
    assert best_count({"same": counts["same"]}, y) == ("", pytest.approx(math.nan, nan_ok=True))
    found = correlate(y, y, better="higher", counts=counts)
    assert found.rival == "near"


def test_tau_within_thirds_counts_the_pairs_inside_alone():
    count = np.repeat([1.0, 2.0, 3.0], 4)
    y = np.arange(12, dtype=float)
    against = -y + 100 * count  # ranks well by size, and in reverse at a given size
    drawn = resamples(12, 200)

    def beside(x, counts):
        def taus(column, groups):
            return resampled_tau(x if column is None else column, y, drawn, groups)

        (found,) = compared(taus, counts, y).within
        return found

    found = beside(against, {"params": count, "other": y})
    assert kendall(against, y) > 0.4
    assert (found.count, found.tau) == ("params", -1)
    assert (found.rival, found.rival_tau, found.difference) == ("other", 1, -2)
    assert tuple(found.tau_interval) == (-1, -1)
    itself = beside(count, {"params": count})
    assert math.isnan(itself.tau)
    assert itself.rival == ""

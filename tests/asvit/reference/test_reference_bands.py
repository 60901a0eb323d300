"""Tau among networks of about the same size."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asvit.reference import load_reference
from asvit.reference.bands import Band, tau_in_band, taus_in_bands


def test_bands_by_hand():
    count = np.arange(10.0)
    x, y = count.copy(), count.copy()
    y[5:] = y[5:][::-1]
    bands = taus_in_bands(x, y, count, name="params", bands=2)
    assert bands == (
        Band("params", 0, 4, 5, pytest.approx(1)),
        Band("params", 5, 9, 5, pytest.approx(-1)),
    )


def test_few_rows_have_no_tau():
    x = np.arange(4.0)
    band = tau_in_band(x, x, x, name="macs", low=0, high=9)
    assert (band.n, band.low, band.high) == (4, 0, 9)
    assert math.isnan(band.tau)


def test_both_ends_are_inside():
    x = np.arange(9.0)
    band = tau_in_band(x, -x, x, name="macs", low=2, high=6)
    assert band == Band("macs", 2, 6, 5, pytest.approx(-1))


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30), st.integers(1, 5))
def test_every_row_is_in_one_band_and_equal_counts_in_the_same(counts, bands):
    count = np.array(counts, dtype=float)
    found = taus_in_bands(count, count, count, name="params", bands=bands)
    assert 1 <= len(found) <= bands
    assert sum(band.n for band in found) == len(count)
    for before, after in itertools.pairwise(found):
        assert before.high < after.low


def test_rows_without_a_count_are_in_none():
    count = np.array([1, 2, math.nan, 3])
    assert sum(band.n for band in taus_in_bands(count, count, count, name="macs")) == 3
    assert taus_in_bands(count[2:3], count[2:3], count[2:3], name="macs") == ()


def test_parameters_rank_models_of_about_the_same_size_badly():
    table = load_reference("timm-in1k")
    top1 = table.accuracies["top1"]
    band = tau_in_band(table.params, top1, table.params, name="params", low=15e6, high=35e6)
    assert band.n == 56
    assert band.tau == pytest.approx(0.28, abs=0.005)

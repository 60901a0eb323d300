import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from asvit.data.render import coverage, frame, histogram, paint


def cloud(seed: int, stretch: float = 1.0, points: int = 4000) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return (rng.random((2, points)) * [[stretch], [1.0]] - 7).astype(np.float32)


@given(st.integers(0, 1000), st.floats(-3, 3), st.floats(0.6, 1.8))
def test_a_frame_is_filled_whatever_the_rotation(seed: int, angle: float, stretch: float) -> None:
    xy = frame(cloud(seed, stretch), angle)
    assert np.abs(np.ptp(np.quantile(xy, [0.005, 0.995], axis=1), axis=0) - 1).max() < 0.05
    inside = ((xy >= 0) & (xy < 1)).all(axis=0)
    assert inside.mean() > 0.95


def test_a_thin_cloud_is_not_stretched_beyond_two_to_one() -> None:
    xy = frame(cloud(0, stretch=100.0))
    width, height = np.ptp(xy, axis=1)
    assert width == pytest.approx(1, abs=0.05)
    assert height == pytest.approx(0.02, abs=0.005)


def test_zoom_scales_about_the_middle() -> None:
    plain, near = frame(cloud(1)), frame(cloud(1), zoom=2.0)
    assert near == pytest.approx((plain - 0.5) * 2 + 0.5, abs=1e-4)


def test_a_single_point_lands_in_the_middle() -> None:
    assert frame(np.full((2, 50), 3.0, np.float32)) == pytest.approx(0.5)


def test_histogram_counts_and_averages() -> None:
    xy = np.array([[0.1, 0.1, 0.9, 1.0, -0.01], [0.1, 0.4, 0.9, 0.5, 0.5]], np.float32)
    counts, hue = histogram(xy, np.array([0.2, 0.6, 1.0, 0.5, 0.5], np.float32), 2)
    assert counts.tolist() == [[2, 0], [0, 1]]  # the last two are outside
    assert hue == pytest.approx(np.array([[0.4, 0.0], [0.0, 1.0]]))


def test_coverage_of_known_histograms() -> None:
    assert coverage(np.full((4, 4), 7)) == pytest.approx(1)
    assert coverage(np.eye(4, dtype=np.int64)) == pytest.approx(1 / 4)
    assert coverage(np.array([[1000, 1], [1, 1]])) == pytest.approx(1 / 4, abs=0.01)


@given(st.integers(0, 1000))
def test_ink_stands_out_from_the_ground(seed: int) -> None:
    counts = np.zeros((32, 32), np.int64)
    counts[8:24, 8:24] = 50
    picture = paint(counts, np.full((32, 32), 0.5, np.float32), np.random.default_rng(seed))
    assert picture.shape == (32, 32, 3)
    assert picture.dtype == np.uint8
    inked = counts > 0
    difference = picture[inked].mean(axis=0) - picture[~inked].mean(axis=0)
    assert np.abs(difference).min() > 25  # in every channel, out of 255


def test_an_empty_histogram_paints_only_the_ground() -> None:
    empty = np.zeros((16, 16), np.int64)
    picture = paint(empty, np.zeros((16, 16), np.float32), np.random.default_rng(0))
    steps = np.abs(np.diff(picture.astype(int), axis=0))
    assert steps.max() < 40  # soft


def test_the_same_draws_at_any_size() -> None:
    after = []
    for size in (8, 64):
        rng = np.random.default_rng(5)
        paint(np.ones((size, size), np.int64), np.zeros((size, size), np.float32), rng)
        after.append(rng.random())
    assert after[0] == after[1]

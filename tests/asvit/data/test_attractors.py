from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from asvit.data.attractors import (
    MAPS,
    SIGMA_MAX,
    IfsCode,
    chaos_game,
    coverage,
    draw_code,
    draw_singular_values,
    frame,
    histogram,
    paint,
    vary,
)

seeds = st.integers(0, 2**32 - 1)


def sierpinski() -> IfsCode:
    """Three half-size copies at the corners of the unit triangle: the set is known exactly."""
    return IfsCode(
        angles=np.zeros((3, 2)),
        sigma=np.full((3, 2), 0.5),
        signs=np.ones((3, 2)),
        shifts=np.array([[0.0, 0.0], [0.5, 0.0], [0.0, 0.5]]),
    )


@given(seeds, st.integers(*MAPS))
def test_singular_values_keep_the_published_constraints(seed: int, maps: int) -> None:
    sigma = draw_singular_values(np.random.default_rng(seed), maps)
    alpha = (sigma * [1, 2]).sum()
    assert sigma.shape == (maps, 2)
    assert (5 + maps) / 2 <= alpha + 1e-9
    assert alpha - 1e-9 <= (6 + maps) / 2
    assert (sigma[:, 0] >= sigma[:, 1] - 1e-12).all()
    assert sigma.min() >= 0
    assert sigma.max() <= SIGMA_MAX + 1e-12


@given(seeds)
def test_matrices_have_the_singular_values_of_the_code(seed: int) -> None:
    code = draw_code(np.random.default_rng(seed))
    assert np.linalg.svd(code.matrices, compute_uv=False) == pytest.approx(code.sigma, abs=1e-9)


@given(seeds)
def test_fixed_points_are_fixed(seed: int) -> None:
    code = draw_code(np.random.default_rng(seed))
    moved = np.einsum("nij,nj->ni", code.matrices, code.fixed_points) + code.shifts
    assert moved == pytest.approx(code.fixed_points, rel=1e-6, abs=1e-9)


@given(seeds, st.floats(0.0, 0.5))
def test_a_varied_code_still_contracts(seed: int, amount: float) -> None:
    rng = np.random.default_rng(seed)
    varied = vary(draw_code(rng), rng, amount)
    assert np.linalg.norm(varied.matrices, 2, axis=(1, 2)).max() <= SIGMA_MAX + 1e-9


def test_probabilities_sum_to_one_and_follow_area() -> None:
    code = draw_code(np.random.default_rng(3))
    assert code.probabilities.sum() == pytest.approx(1)
    area = code.sigma.prod(axis=1)
    assert (np.argsort(code.probabilities) == np.argsort(area)).all()
    assert code.probabilities.min() > 1 / 256  # else a map could never be picked


def test_chaos_game_stays_on_the_sierpinski_triangle() -> None:
    x, y, hue = chaos_game(sierpinski(), np.random.default_rng(0), 5000)
    assert len(x) >= 5000
    # Its points are sums of distinct powers of 1/2, no power in both coordinates.
    bits_x, bits_y = (np.floor(v.astype(np.float64) * 2**12).astype(int) for v in (x, y))
    assert (bits_x & bits_y == 0).mean() > 0.99  # but for rounding at the corners
    assert hue.min() >= 0
    assert hue.max() <= 1


def test_chaos_game_spreads_points_as_the_probabilities_say() -> None:
    x, y, _ = chaos_game(sierpinski(), np.random.default_rng(0), 81_000)
    # Each of the nine second-level triangles holds a ninth: standard deviation about 95 points.
    for left, low in product((0, 0.25, 0.5, 0.75), repeat=2):
        if left + low <= 0.75 and not (left in (0.25, 0.75) and low in (0.25, 0.75)):
            inside = (x >= left) & (x < left + 0.25) & (y >= low) & (y < low + 0.25)
            assert inside.mean() == pytest.approx(1 / 9, abs=0.01)


def test_hue_tells_the_last_map() -> None:
    x, y, hue = chaos_game(sierpinski(), np.random.default_rng(0), 5000)
    last = np.where(x > 0.5, 1, np.where(y > 0.5, 2, 0))
    means = [hue[last == k].mean() for k in range(3)]
    assert means[0] < means[1] < means[2]
    assert np.ptp(means) > 0.3


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

"""Generated images: fractals, their attractors, and the cache that keeps them."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from asvit.data import cache_folder, fractals
from asvit.data.fractals import (
    MAPS,
    SIGMA_MAX,
    FractalDataset,
    IfsCode,
    chaos_game,
    coverage,
    draw_code,
    draw_singular_values,
    fractal_image,
    frame,
    histogram,
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


@given(seeds, st.floats(0.0, 0.5))
def test_a_varied_code_still_contracts(seed: int, amount: float) -> None:
    rng = np.random.default_rng(seed)
    varied = vary(draw_code(rng), rng, amount)
    assert np.linalg.norm(varied.matrices, 2, axis=(1, 2)).max() <= SIGMA_MAX + 1e-9


def test_chaos_game_stays_on_the_sierpinski_triangle() -> None:
    x, y, hue = chaos_game(sierpinski(), np.random.default_rng(0), 5000)
    assert len(x) >= 5000
    # Its points are sums of distinct powers of 1/2, no power in both coordinates.
    bits_x, bits_y = (np.floor(v.astype(np.float64) * 2**12).astype(int) for v in (x, y))
    assert (bits_x & bits_y == 0).mean() > 0.99  # but for rounding at the corners
    assert hue.min() >= 0
    assert hue.max() <= 1


def cloud(seed: int, stretch: float = 1.0, points: int = 4000) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return (rng.random((2, points)) * [[stretch], [1.0]] - 7).astype(np.float32)


@given(st.integers(0, 1000), st.floats(-3, 3), st.floats(0.6, 1.8))
def test_a_frame_is_filled_whatever_the_rotation(seed: int, angle: float, stretch: float) -> None:
    xy = frame(cloud(seed, stretch), angle)
    assert np.abs(np.ptp(np.quantile(xy, [0.005, 0.995], axis=1), axis=0) - 1).max() < 0.05
    inside = ((xy >= 0) & (xy < 1)).all(axis=0)
    assert inside.mean() > 0.95


def test_histogram_counts_and_averages() -> None:
    xy = np.array([[0.1, 0.1, 0.9, 1.0, -0.01], [0.1, 0.4, 0.9, 0.5, 0.5]], np.float32)
    counts, hue = histogram(xy, np.array([0.2, 0.6, 1.0, 0.5, 0.5], np.float32), 2)
    assert counts.tolist() == [[2, 0], [0, 1]]  # the last two are outside
    assert hue == pytest.approx(np.array([[0.4, 0.0], [0.0, 1.0]]))


def test_coverage_of_known_histograms() -> None:
    assert coverage(np.full((4, 4), 7)) == pytest.approx(1)
    assert coverage(np.eye(4, dtype=np.int64)) == pytest.approx(1 / 4)
    assert coverage(np.array([[1000, 1], [1, 1]])) == pytest.approx(1 / 4, abs=0.01)


def grey(pictures: NDArray[np.uint8], side: int) -> NDArray[np.float32]:
    small = [
        Image.fromarray(p).convert("L").resize((side, side), Image.Resampling.BOX)
        for p in pictures
    ]
    return np.stack([np.asarray(image, np.float32).ravel() for image in small])


def distance_from_ground(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """How far each cell is from the picture's median, whether lighter or darker."""
    cells = grey(pictures, 16)
    return np.abs(cells - np.median(cells, axis=1, keepdims=True))


def _pixels(images: FractalDataset) -> NDArray[np.uint8]:
    return np.stack([np.asarray(images.picture(index)) for index in range(len(images))])


def test_the_images_have_not_changed() -> None:
    # Mean brightness of a 4 x 4 grid, generator version 1, numpy 2.4, x86-64. Raise VERSION when
    # this has to change: kept images and recorded results depend on it.
    expected = (
        [210, 145, 215, 206, 128, 122, 161, 197, 190, 160, 129, 153, 192, 128, 124, 223],
        [196, 182, 181, 149, 193, 181, 150, 165, 205, 164, 145, 204, 161, 200, 201, 224],
        [65, 71, 69, 55, 108, 104, 76, 43, 84, 111, 56, 30, 33, 41, 58, 26],
    )
    assert fractals.VERSION == 1
    for label, cells in enumerate(expected):
        assert grey(fractal_image(0, label, 0, size=32)[None], 4)[0] == pytest.approx(cells, abs=3)


def test_classes_can_be_told_apart_but_not_by_brightness() -> None:
    classes = 10
    train = FractalDataset(classes, 20, 32)
    test = FractalDataset(classes, 10, 32, first=20)
    accuracy = {}
    for name, features in {"shape": distance_from_ground, "mean": lambda p: grey(p, 1)}.items():
        seen, unseen = (features(_pixels(images)) for images in (train, test))
        centroids = np.stack([seen[train.labels == k].mean(axis=0) for k in range(classes)])
        nearest = np.linalg.norm(unseen[:, None] - centroids, axis=2).argmin(axis=1)
        accuracy[name] = (nearest == test.labels).mean()
    assert accuracy["shape"] > 0.4  # four times chance
    assert accuracy["mean"] < 0.25


def test_all_are_drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, told = FractalDataset(3, 4, 16, seed=7), list[tuple[int, int]]()
    expected = _pixels(dataset)
    dataset.prepare(progress=lambda *report: told.append(report))
    assert told[-1] == (12, 12)
    monkeypatch.setattr(fractals, "fractal_image", None)  # drawing one would now fail
    assert (_pixels(dataset) == expected).all()


def test_order_and_labels() -> None:
    original = FractalDataset(3, 4, 16, seed=7, first=10)
    dataset = pickle.loads(pickle.dumps(original))  # as a process gets it that is not a fork
    assert len(dataset) == 12
    assert dataset.classes == ("fractal-00000", "fractal-00001", "fractal-00002")
    assert [label for _, label in dataset] == [0, 1, 2] * 4
    picture, label = dataset[7]
    assert label == 1
    assert (np.asarray(picture) == fractal_image(7, 1, 12, size=16)).all()
    assert (np.asarray(dataset[-1][0]) == np.asarray(dataset[11][0])).all()
    with pytest.raises(IndexError, match="image 12 of 12"):
        dataset[12]


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"ASVIT_CACHE": "/a/b", "XDG_CACHE_HOME": "/x"}, "/a/b"),
        ({"XDG_CACHE_HOME": "/x"}, "/x/asvit"),
        ({"ASVIT_CACHE": "", "XDG_CACHE_HOME": "/x"}, "/x/asvit"),
        ({"HOME": "/h"}, "/h/.cache/asvit"),
    ],
)
def test_cache_folder(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: str
) -> None:
    for name in ("ASVIT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache_folder() == Path(expected)

import logging
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from asvit.data import fractals
from asvit.data.attractors import chaos_game, coverage, frame, histogram
from asvit.data.fractals import FractalDataset, class_code, fractal_image

KEEP_SCRIPT = """
import sys
from pathlib import Path
from asvit.data import FractalDataset
FractalDataset(8, 60, 16, cache=Path(sys.argv[1])).prepare()
"""


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


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**63), st.integers(0, 10_000), st.integers(0, 10_000), st.integers(8, 40))
def test_any_identity_gives_one_well_formed_image(
    seed: int, label: int, instance: int, size: int
) -> None:
    image = fractal_image(seed, label, instance, size=size)
    assert image.shape == (size, size, 3)
    assert image.dtype == np.uint8
    assert (image == fractal_image(seed, label, instance, size=size)).all()
    assert image.std() > 10  # not blank


def test_seed_class_and_instance_each_make_another_image() -> None:
    images = [fractal_image(*key, size=32) for key in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1))]
    assert len({image.tobytes() for image in images}) == 4


def test_the_same_scene_at_another_size() -> None:
    for label in range(5):
        small, large = (grey(fractal_image(0, label, 0, size=size)[None], 16) for size in (48, 96))
        assert np.corrcoef(small, large)[0, 1] > 0.9


def test_every_class_fills_its_picture() -> None:
    rng = np.random.default_rng(0)
    for label in range(100):
        points = chaos_game(class_code(0, label), rng, 4 * 64 * 64)
        counts, _ = histogram(frame(points), points[2], 64)
        touched = (counts > 0).mean()
        assert 0.12 < coverage(counts) < 0.9, label
        assert 0.15 < touched < 0.95, label  # neither dots nor a full square
        rows, columns = np.nonzero(counts)
        assert np.ptp(rows) > 60 or np.ptp(columns) > 60, label


def test_classes_can_be_told_apart_but_not_by_brightness() -> None:
    classes = 10
    train = FractalDataset(classes, 20, 32)
    test = FractalDataset(classes, 10, 32, first=20)
    accuracy = {}
    for name, features in {"shape": distance_from_ground, "mean": lambda p: grey(p, 1)}.items():
        seen, unseen = features(train.load(len(train))), features(test.load(len(test)))
        centroids = np.stack([seen[train.labels == k].mean(axis=0) for k in range(classes)])
        nearest = np.linalg.norm(unseen[:, None] - centroids, axis=2).argmin(axis=1)
        accuracy[name] = (nearest == test.labels).mean()
    assert accuracy["shape"] > 0.4  # four times chance
    assert accuracy["mean"] < 0.25


def test_order_and_labels(tmp_path: Path) -> None:
    original = FractalDataset(3, 4, 16, seed=7, first=10, cache=tmp_path)
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


def test_kept_images_equal_made_ones_and_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = FractalDataset(5, 60, 16)
    dataset = FractalDataset(5, 60, 16, cache=tmp_path)
    told: list[tuple[int, int]] = []
    for _ in range(2):  # made, then read
        dataset.prepare(progress=lambda *report: told.append(report))
    assert told == [*((done, 300) for done in range(1, 301)), (256, 300), (300, 300)]
    assert len(list(tmp_path.rglob("*.safetensors"))) == 2  # 256 + 44 images
    expected = plain.load(300)
    monkeypatch.setattr(fractals, "fractal_image", None)  # making one would now fail
    assert (dataset.load(300) == expected).all()
    assert (np.asarray(dataset[299][0]) == expected[299]).all()


def test_a_damaged_kept_image_is_made_again(tmp_path: Path) -> None:
    dataset = FractalDataset(5, 2, 16, cache=tmp_path)
    expected = dataset.load(10)
    (file,) = tmp_path.rglob("*.safetensors")
    whole = file.read_bytes()
    for damaged in (b"", whole[:300], whole[:-1] + bytes([whole[-1] ^ 1]), b"\xff" * len(whole)):
        file.write_bytes(damaged)
        assert (np.asarray(dataset[9][0]) == expected[9]).all()
        assert (dataset.load(10) == expected).all()
        assert file.read_bytes() == whole


def test_two_processes_keep_the_same_images_at_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KEEP_SCRIPT, str(tmp_path)]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(2)]
    for process in both:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    kept = FractalDataset(8, 60, 16, cache=tmp_path).load(480)
    assert (kept == FractalDataset(8, 60, 16).load(480)).all()
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 2


@pytest.mark.parametrize("reason", ["Not a directory", "No space left on device"])
def test_a_cache_that_cannot_be_written_costs_nothing_else(
    reason: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_part: Path, _target: Path) -> Path:
        raise OSError(28, reason)

    cache = tmp_path / "file"
    if reason == "Not a directory":
        cache.write_text("in the way")
    monkeypatch.setattr(Path, "replace", full)
    dataset = FractalDataset(300, 2, 8, cache=cache)
    reports: list[tuple[int, int]] = []
    with caplog.at_level(logging.WARNING):
        images = dataset.load(300)
        dataset.prepare(progress=lambda done, total: reports.append((done, total)))
    assert (images == FractalDataset(300, 2, 8).load(300)).all()
    assert [f"({reason})" in record.getMessage() for record in caplog.records] == [True]
    assert reports[-1] == (256, 600)  # no work for nothing
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path != cache] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"classes": 0}, "0 fractal classes; use 1 to 100000"),
        ({"classes": 10**6}, "1000000 fractal classes"),
        ({"per_class": 0}, "0 images per class; use 1 or more"),
        ({"image_size": 7}, "image size 7; use 8 or more"),
        ({"seed": -1}, "seed -1"),
        ({"first": -1}, "first instance -1"),
        ({}, "no cache folder"),
    ],
)
def test_numbers_out_of_range(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FractalDataset(**{"classes": 2, "image_size": 16, **arguments}).prepare()

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from image_folders import fill
from numpy.typing import NDArray

from asvit.data import MEAN, STD, FractalDataset, Images, load_images
from asvit.data.base import balanced_choice, divide, subset


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three classes of 1, 2 and 9 images."""
    return fill(tmp_path / "set", a=1, b=2, c=9)


def load(spec: str, count: int = 6, size: int = 16, seed: int = 0) -> Images:
    return load_images(spec, count=count, image_size=size, seed=seed)


@pytest.mark.parametrize("kind", ["fractal", "fractal:4", "gaussian", "digits", "folder"])
def test_every_source(kind: str, folder: Path) -> None:
    if kind == "digits":
        pytest.importorskip("sklearn")
    spec = str(folder) if kind == "folder" else kind
    images = load(spec)
    assert images.pixels.shape == (6, 3, 16, 16)
    assert images.pixels.dtype == torch.float32
    assert images.pixels.is_contiguous()
    assert images.labels.shape == (6,)
    assert images.labels.dtype == torch.int64
    assert images.labels.max() < len(images.classes)
    assert images.source
    again, other = load(spec), load(spec, seed=1)
    assert torch.equal(images.pixels, again.pixels)
    assert images.digest == hashlib.sha256(images.pixels.numpy().tobytes()).hexdigest()
    assert images.digest == again.digest
    assert images.digest != other.digest
    fewer = load(spec, count=3)
    assert torch.equal(fewer.pixels, images.pixels[:3])
    assert torch.equal(fewer.labels, images.labels[:3])


def test_choice_is_balanced_over_classes(folder: Path) -> None:
    images = load(str(folder), count=8)
    assert torch.bincount(images.labels).tolist() == [1, 2, 5]
    assert images.classes == ("a", "b", "c")
    colours = images.pixels[:, :, 8, 8] * torch.tensor(STD) + torch.tensor(MEAN)
    numbers = (255 * colours).round().long()
    assert len(set(map(tuple, numbers.tolist()))) == 8  # none twice
    assert (numbers[:, 1] == images.labels).all()  # each with its own label


labels = arrays.arrays(np.int64, st.integers(1, 60), elements=st.integers(0, 5))


@given(labels, st.data(), st.integers(0, 2**32))
def test_balanced_choice_of_any_labels(
    labels: NDArray[np.int64], data: st.DataObject, seed: int
) -> None:
    count = data.draw(st.integers(1, len(labels)))
    chosen = balanced_choice(labels, count, seed)
    assert len(set(chosen.tolist())) == count
    assert (balanced_choice(labels, len(labels), seed)[:count] == chosen).all()
    available, taken = np.bincount(labels), np.bincount(labels[chosen], minlength=labels.max() + 1)
    left = taken < available  # a class that has some left has as many as any, but for one
    assert (taken[left] >= taken.max() - 1).all()


@pytest.mark.parametrize(
    ("spec", "kind", "message"),
    [
        ("fractl", ValueError, "unknown images 'fractl'; did you mean 'fractal'"),
        ("torchvison:CIFAR10", ValueError, "did you mean 'torchvision:CIFAR10'"),
        ("gaussian:3", FileNotFoundError, "no images of that name; use one of"),
        ("wds", FileNotFoundError, "wds:PATTERN"),
        ("fractal:many", ValueError, "'many' is not a number of classes"),
        ("fractal:-3", ValueError, "'-3' is not a number of classes"),
        ("fractal:0", ValueError, "classes 0; use 1"),
        ("torchvision:", ValueError, "names no dataset; use torchvision:NAME"),
        ("wds:", FileNotFoundError, "no archive ''; give e.g. wds:train-"),
        ("hf::download", ValueError, "names no dataset; use hf:NAME"),
        ("./nowhere", FileNotFoundError, "no folder './nowhere'"),
        ("~/no-such-folder", FileNotFoundError, "no folder '~/no-such-folder'"),
        ("~nobody-by-this-name/x", FileNotFoundError, "no folder '~nobody-by-this-name/x'"),
        ("holiday", FileNotFoundError, "no folder 'holiday', .*; use one of fractal, "),
        ("", FileNotFoundError, "no folder ''"),
        (" ", FileNotFoundError, "no folder ' '"),
    ],
)
def test_unknown_sources(spec: str, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message) as caught:
        load(spec)
    assert "\n" not in str(caught.value)


def test_too_few_or_unreadable_images(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"13 images are needed, .* are 12: .*; use fewer$"):
        load(str(folder), count=13)
    (folder / "a" / "000.png").write_bytes(b"not an image")  # every balanced choice takes it
    with pytest.raises(ValueError, match=r"cannot read image '.*0\.png'"):
        load(str(folder), count=3)


@given(
    st.lists(st.integers(2, 30), min_size=1, max_size=6),
    st.floats(0.01, 0.99),
    st.integers(0, 1000),
)
def test_divide(sizes: list[int], held_out: float, seed: int) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    stay, held = divide(labels, held_out, seed)
    assert sorted([*stay, *held]) == list(range(len(labels)))
    for label, size in enumerate(sizes):
        count = int((labels[held] == label).sum())
        assert 1 <= count <= size - 1
        assert abs(count - held_out * size) <= 0.5 or count in (1, size - 1)


def test_subset() -> None:
    whole = FractalDataset(3, 4, 8)
    some = subset(whole, np.array([7, 2]), "to look at")
    assert len(some) == 2
    assert some.labels.tolist() == [1, 2]
    assert some.classes == whole.classes
    assert np.array_equal(some.picture(0), whole.picture(7))
    assert some.name(1) == whole.name(2) != whole.name(7)
    assert some.source.endswith("; 2 of them to look at")
    assert some[1][1] == 2
    with pytest.raises(IndexError):
        some[2]
    assert subset(whole, np.array([], dtype=np.int64), "left").kind == whole.kind

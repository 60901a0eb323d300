import sys
from pathlib import Path

import numpy as np
import pytest
from image_folders import write_mnist

from asvit.data import open_dataset
from asvit.data.libraries import (
    LibraryDataset,
    open_digits,
    open_torchvision,
    open_torchvision_test,
)


@pytest.fixture
def mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Twenty MNIST images in the format of its own files, where ASVIT_DATA says."""
    monkeypatch.setenv("ASVIT_DATA", str(tmp_path))
    pixels = np.random.default_rng(0).integers(0, 256, (20, 28, 28), np.uint8)
    labels = np.arange(20, dtype=np.uint8) % 10
    for part, values in (("train", labels.tobytes()), ("t10k", bytes([7] * 20))):
        write_mnist(tmp_path, part, pixels.tobytes(), values)
    return pixels


def test_digits() -> None:
    dataset = open_digits()
    assert len(dataset) == 1797
    assert dataset.classes == tuple("0123456789")
    picture, label = dataset[0]
    assert (picture.mode, picture.size, label) == ("RGB", (8, 8), 0)
    assert np.asarray(picture).max() == 15 * 255 // 16  # scikit-learn's values go to 16


def test_a_library_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ImportError, match=r"'hf:me/set' needs .*pip install '\.\[train\]'"):
        open_dataset("hf:me/set")


def test_torchvision(mnist: np.ndarray) -> None:
    dataset = open_torchvision("MNIST")
    assert len(dataset) == 20
    assert dataset.classes[3] == "3 - three"
    assert dataset.labels.tolist() == [i % 10 for i in range(20)]
    picture, label = dataset[13]
    assert (np.asarray(picture) == mnist[13][..., None]).all()
    assert label == 3


@pytest.mark.usefixtures("mnist")
def test_a_damaged_torchvision_file(tmp_path: Path) -> None:
    path = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte"
    for kept in (1000, 500, 3, 0):
        path.write_bytes(path.read_bytes()[:kept])
        with pytest.raises(FileNotFoundError, match=r"cannot open torchvision:MNIST in '.*': ."):
            open_torchvision("MNIST")


def test_torchvision_never_downloads_unless_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASVIT_DATA", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", None)  # a call would be a TypeError
    with pytest.raises(
        FileNotFoundError,
        match=r"not found.*; set ASVIT_DATA .*ask for 'torchvision:CIFAR10:download'",
    ):
        open_torchvision("CIFAR10")
    with pytest.raises(FileNotFoundError) as caught:
        open_torchvision("ImageNet")
    assert "download" not in str(caught.value)  # torchvision cannot fetch that one


def test_a_failed_download_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unplugged(*_: object, **__: object) -> None:
        raise OSError("Network is unreachable")

    monkeypatch.setenv("ASVIT_DATA", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", unplugged)
    with pytest.raises(OSError, match=r"cannot download torchvision:CIFAR10: .*unreachable"):
        open_torchvision("CIFAR10", download=True)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("CIFAR-10", "did you mean 'CIFAR10'"),
        ("cifar100", "did you mean 'CIFAR100'"),
        ("Zzzzzz", "torchvision has no dataset 'Zzzzzz'$"),
        ("ImageFolder", "torchvision has no dataset 'ImageFolder'"),
        ("EMNIST", "torchvision:EMNIST needs split; save it as a folder"),
    ],
)
def test_wrong_torchvision_names(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        open_torchvision(name)


def test_labels_are_found_by_reading_when_a_dataset_does_not_list_them() -> None:
    dataset = open_torchvision("FakeData")
    assert len(dataset) == 1000
    assert dataset[5][1] == dataset.labels[5]
    assert dataset.classes == tuple("0123456789")
    assert open_torchvision_test("FakeData") is None  # in one piece


def test_classes_of_equal_name_stay_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """ImageNet has a bird and a machine that are called crane."""
    from torchvision import datasets

    class Named(datasets.FakeData):
        classes = (("crane",), ("crane",), ("crane (2)",), ("maillot", "tank suit"))

        def __init__(self, root: str) -> None:
            super().__init__(size=10, image_size=(3, 8, 8), num_classes=4)

    monkeypatch.setattr(datasets, "SVHN", Named)
    dataset = open_torchvision("SVHN")
    assert dataset.classes == ("crane", "crane (2)", "crane (2) (2)", "maillot, tank suit")


def test_items_that_are_not_images_are_named() -> None:
    dataset = LibraryDataset("a set", ("a",), np.zeros(2, np.int64), [("text", 0)] * 2)
    with pytest.raises(
        ValueError, match="cannot read image 1 of a set: it is a str, not an image"
    ):
        dataset.picture(1)


@pytest.mark.usefixtures("mnist")
def test_the_test_part() -> None:
    test = open_torchvision_test("MNIST")
    assert test.labels.tolist() == [7] * 20
    assert test.source == "torchvision MNIST test, 20 images"
    assert test.classes == open_torchvision("MNIST").classes


@pytest.mark.parametrize(
    ("parts", "chosen"),
    [
        (("train", "val", "test"), "val"),
        (("train", "valid", "test"), "valid"),
        (("train", "test"), "test"),
        (("trainval", "val", "test"), "test"),  # has the images to validate with
    ],
)
def test_the_part_that_is_chosen_by_name(
    parts: tuple[str, ...], chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked for in turn; what torchvision says of the others is not an error."""
    from torchvision import datasets
    from torchvision.datasets.utils import verify_str_arg

    class Parted(datasets.FakeData):
        def __init__(self, root: str, split: str = parts[0], download: bool = False) -> None:
            self.split = verify_str_arg(split, "split", parts)
            super().__init__(size=10)

    monkeypatch.setattr(datasets, "SVHN", Parted)
    for download in (False, True):
        opened = open_torchvision_test("SVHN", download=download)
        assert opened.source == f"torchvision SVHN {chosen}, 10 images"


def test_a_test_part_without_labels_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """As FER2013 is, where only train.csv and test.csv are there."""
    from torchvision import datasets
    from torchvision.datasets.utils import verify_str_arg

    class Withheld(datasets.FakeData):
        def __init__(self, root: str, split: str = "train") -> None:
            label = {"train": 3, "test": None}[verify_str_arg(split, "split", ("train", "test"))]
            super().__init__(size=10)
            self._samples = [(None, label)] * 10

    monkeypatch.setattr(datasets, "SVHN", Withheld)
    assert open_torchvision("SVHN").labels.tolist() == [3] * 10
    assert open_torchvision_test("SVHN") is None
    with pytest.raises(ValueError, match="SVHN test, 10 images: its labels are withheld; use a"):
        open_torchvision("SVHN", split="test")


def test_a_test_part_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASVIT_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="cannot open torchvision:SVHN in"):
        open_torchvision_test("SVHN")

import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from asvit.data.libraries import DigitsDataset, LibraryDataset, open_hub, open_torchvision


@pytest.fixture
def mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Twenty MNIST images in the format of its own files, where ASVIT_DATA says."""
    monkeypatch.setenv("ASVIT_DATA", str(tmp_path))
    pixels = np.random.default_rng(0).integers(0, 256, (20, 28, 28), np.uint8)
    labels = np.arange(20, dtype=np.uint8) % 10
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for part in ("train", "t10k"):
        head = struct.pack(">IIII", 0x803, *pixels.shape)
        (folder / f"{part}-images-idx3-ubyte").write_bytes(head + pixels.tobytes())
        head = struct.pack(">II", 0x801, len(labels))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(head + labels.tobytes())
    return pixels


def test_digits() -> None:
    pytest.importorskip("sklearn")
    dataset = DigitsDataset()
    assert len(dataset) == 1797
    assert dataset.classes == tuple("0123456789")
    picture, label = dataset[0]
    assert (picture.mode, picture.size, label) == ("RGB", (8, 8), 0)
    assert np.asarray(picture).max() == 15 * 255 // 16  # scikit-learn's values go to 16


def test_digits_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match="pip install scikit-learn"):
        DigitsDataset()


def test_torchvision(mnist: np.ndarray) -> None:
    dataset = open_torchvision("MNIST")
    assert len(dataset) == 20
    assert dataset.classes[3] == "3 - three"
    assert dataset.labels.tolist() == [i % 10 for i in range(20)]
    picture, label = dataset[13]
    assert (np.asarray(picture) == mnist[13][..., None]).all()
    assert label == 3


@pytest.mark.parametrize("keep", [0, 3, 500, 1000])
def test_a_damaged_torchvision_file(mnist: np.ndarray, tmp_path: Path, keep: int) -> None:
    path = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:keep])
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


def test_items_that_are_not_images_are_named() -> None:
    dataset = LibraryDataset("a set", None, np.zeros(2, np.int64), items=[("text", 0)] * 2, key=0)
    with pytest.raises(
        ValueError, match="cannot read image 1 of a set: it is a str, not an image"
    ):
        dataset.picture(1)


def test_hub_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ImportError, match=r"'hf:me/set' need .*pip install 'asvit\[train\]'"):
        open_hub("me/set")


@pytest.fixture
def hub_folder(tmp_path: Path) -> str:
    """A local dataset in a layout that the library reads by itself."""
    for label, name in enumerate(("cat", "dog")):
        folder = tmp_path / "set" / "train" / name
        folder.mkdir(parents=True)
        for number in range(3):
            Image.new("L", (20, 10), 100 * label + number).save(folder / f"{number}.png")
    return str(tmp_path / "set")


def test_hub(hub_folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    dataset = open_hub(hub_folder)
    assert dataset.classes == ("cat", "dog")
    assert dataset.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert dataset.picture(4).getpixel((0, 0)) == (101, 101, 101)
    assert datasets.config.HF_HUB_OFFLINE is False  # put back


def test_hub_stays_off_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("datasets")
    import socket

    monkeypatch.setattr(socket, "create_connection", None)
    monkeypatch.setattr(socket, "getaddrinfo", None)
    with pytest.raises(FileNotFoundError, match="ask for 'hf:nobody/nothing:download'"):
        open_hub("nobody/nothing")

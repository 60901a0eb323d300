import sys
from pathlib import Path

import pytest
from PIL import Image

from asvit.data.hub import open_hub, open_hub_parts


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


@pytest.fixture
def _own_hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.mark.usefixtures("_own_hub_cache")
@pytest.mark.parametrize("parts", [("validation", "test"), ("test",)])
def test_hub_parts(hub_folder: str, parts: tuple[str, ...]) -> None:
    for number, part in enumerate(parts):
        for name in ("cat", "dog"):
            folder = Path(hub_folder) / part / name
            folder.mkdir(parents=True)
            Image.new("L", (20, 10), 50 + number).save(folder / "1.png")
    train, other = open_hub_parts(hub_folder)
    assert len(train) == 6
    assert other is not None
    assert other.classes == train.classes
    assert other.labels.tolist() == [0, 1]
    assert other.picture(0).getpixel((0, 0)) == (50, 50, 50)  # of the first of them
    assert f" {parts[0]}, 2 images" in other.source


@pytest.mark.usefixtures("_own_hub_cache")
def test_hub_without_other_parts(hub_folder: str) -> None:
    train, other = open_hub_parts(hub_folder)
    assert (len(train), other) == (6, None)


def test_labels_that_are_kept_back(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])}
    )
    image = Image.new("L", (4, 4))

    def table(labels: list[int]) -> object:
        rows = {"image": [image] * len(labels), "label": labels}
        return datasets.Dataset.from_dict(rows, features=features)

    found = {"train": table([0, 1]), "validation": table([-1, -1]), "test": table([1])}
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: found)
    _, other = open_hub_parts("me/set")
    assert other is not None
    assert other.labels.tolist() == [1]
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: {"test": found["test"]})
    with pytest.raises(ValueError, match="hf:me/set has no part 'train'; its parts: test"):
        open_hub_parts("me/set")

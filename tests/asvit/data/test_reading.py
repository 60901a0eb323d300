"""Images that cannot be read are found by their headers, in every kind of set."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_folders import fill

from asvit.data import FractalDataset, load_images
from asvit.data.base import LabelledImages, subset, unreadable_images
from asvit.data.folders import FolderDataset
from asvit.data.tables import ListedDataset, ListedImage, list_text
from asvit.data.texts import packed, unpacked


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """20 images in two classes; of five of them the file is none."""
    made = fill(tmp_path / "all", a=10, b=10)
    for name in ("a/001", "a/005", "b/003", "b/004", "b/009"):
        (made / f"{name}.png").write_text("nothing")
    return made


def listed(folder: Path) -> LabelledImages:
    images = FolderDataset(folder)
    rows = [
        ListedImage(images.name(i), name, "train")
        for i, name in enumerate(["a"] * 10 + ["b"] * 10)
    ]
    (folder / "list.csv").write_text(list_text(rows))
    return ListedDataset(folder / "list.csv")


def test_all_are_found_in_order(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asvit.data.base.HEADERS", 3)
    seen: list[tuple[int, int]] = []
    for images in (FolderDataset(folder), listed(folder)):
        bad = unreadable_images(images, range(20), progress=lambda *told: seen.append(told))
        names = [str(Path(name).with_suffix("")) for name, _ in bad]
        assert [name[-5:] for name in names] == ["a/001", "a/005", "b/003", "b/004", "b/009"]
        assert all("it is not a BMP" in why for _, why in bad)
    assert seen[-1] == (20, 20)
    some = subset(FolderDataset(folder), np.array([5, 6, 13]), "for training")
    assert [name for name, _ in unreadable_images(some, range(3))] == ["a/005.png", "b/003.png"]
    assert unreadable_images(FractalDataset(2, 3, 32), range(6)) == []
    words = r"^5 of 20 images cannot be read; repair or remove them: "
    with pytest.raises(ValueError, match=words):
        load_images(str(folder), count=20, image_size=32, seed=0)


@given(st.lists(st.text(st.characters(exclude_categories=(), exclude_characters="\0"))))
def test_every_text_comes_back(texts: list[str]) -> None:
    assert [*map(unpacked, pickle.loads(pickle.dumps(packed(texts))))] == texts

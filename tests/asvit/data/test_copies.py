"""Equal pictures: found by content alone, never on both sides of a division, and named."""

import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from asvit.data import copies
from asvit.data.base import file_digest
from asvit.data.copies import distinct, divide_apart, equal
from asvit.data.training_sets import open_training_sets
from tests.asvit.data.archives import archive, samples
from tests.asvit.runs.fakes import write_pictures


def test_files_are_equal_by_content_and_few_are_read(tmp_path: Path) -> None:
    block = bytes(9000)
    contents = [b"a" + block, b"b" + block, b"a" + block, block[:4500] + b"c" + block[:4500]]
    contents += [b"other size", b"", b""]
    paths = [tmp_path / str(place) for place in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    (tmp_path / "link").symlink_to(paths[4])
    stored = [*paths, tmp_path / "missing", tmp_path / "link"]
    told = list[tuple[int, int]]()
    both = [*stored, *contents]  # archives have contents
    groups = equal(both.__getitem__, len(both), lambda *at: told.append(at))
    assert groups.tolist() == [0, 1, 0, 3, 4, 5, 6, 7, 4, 0, 1, 0, 3, 4, 14, 15]
    assert told[0] == (16, 16)
    assert told[-1] == (11, 11)  # read as a whole
    assert file_digest(paths[4]) == hashlib.sha256(b"other size").hexdigest()


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9)), min_size=1, max_size=40),
    st.integers(0, 5),
)
def test_equal_images_are_never_on_both_sides(pairs: list[tuple[int, int]], seed: int) -> None:
    labels, groups = np.array(pairs).T
    assume(len(distinct(labels, groups)) > 0)  # else there is nothing to divide
    stay, held = divide_apart(labels, groups, 0.3, seed)
    assert not set(groups[stay]) & set(groups[held])
    assert len(set(groups[held])) == len(held)  # each once
    assert set(held) <= set(distinct(labels, groups))
    for group in groups[held]:
        assert len(set(labels[groups == group])) == 1
    assert set(groups) == set(groups[stay]) | set(groups[held])


def test_a_training_does_not_validate_on_copies(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_pictures(tmp_path / "pictures", each=20)
    files = sorted((folder / "class0").iterdir())
    for file in files[:10]:
        (folder / "class0" / f"copy-{file.name}").write_bytes(file.read_bytes())
    other = folder / "class1" / "wrong.jpg"
    other.write_bytes(files[12].read_bytes())
    told = list[tuple[int, int]]()
    sets = open_training_sets(
        str(folder), image_size=32, seed=0, held_out=0.4, progress=lambda *at: told.append(at)
    )
    assert told[0] == (51, 51)  # files
    sides = [
        [(folder / part.name(index)).read_bytes() for index in range(len(part))]
        for part in (sets.train, sets.validation)
    ]
    assert not set(sides[0]) & set(sides[1])
    assert len(set(sides[1])) == len(sides[1])
    assert "10 picture(s) have copies: class0/000.jpg = class0/copy-000.jpg; " in caplog.text
    assert "in several classes: class0/024.jpg = class1/wrong.jpg" in caplog.text
    table = tmp_path / "pictures.csv"
    rows = [
        f"{file},{file.parent.name},train,{file_digest(file)}"
        for file in sorted(folder.rglob("*.jpg"))
    ]
    table.write_text("\n".join(["image,class,part,sha256", *rows]))
    monkeypatch.setattr(copies, "equal", None)  # digests tell which are equal
    listed = open_training_sets(str(table), image_size=32, seed=0, held_out=0.4)
    for part, own in ((sets.train, listed.train), (sets.validation, listed.validation)):
        assert part.files == own.files


def test_copies_in_given_parts_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def heard(data: str, **options: Any) -> str:
        caplog.clear()
        open_training_sets(data, image_size=32, seed=0, **options)
        return caplog.text

    train = write_pictures(tmp_path / "pets" / "train", each=4)
    validation = write_pictures(tmp_path / "pets" / "val", each=3, seed=1)
    pets = str(tmp_path / "pets")
    shutil.copy(train / "class0" / "000.jpg", train / "class0" / "twin.jpg")
    assert heard(pets) == ""
    for name in ("class0/002.jpg", "class1/003.jpg"):
        shutil.copy(train / name, validation / name.replace(".", "-copy."))
    words = (
        "2 of 8 images for validation are also among those to train on (val/class0/002-copy.jpg "
        "is train/class0/002.jpg there), so the accuracy is too high"
    )
    assert words in heard(pets)
    assert "2 of 8 images" in heard(str(train), validation=str(validation))
    archives = [
        f"wds:{archive(tmp_path / f'{part.name}.tar', samples(part, names=True))}"
        for part in (train, validation)
    ]
    assert "2 of 8 images" in heard(archives[0], validation=archives[1])
    assert "2 of 8 images" in heard(str(train), validation=archives[1])
    assert "9 of 9 images" in heard(str(train), validation=str(train))
    assert "4 of 4 images" in heard(str(train), validation=str(train), validation_images=4)
    assert heard(pets, quiet=True) + heard(pets, train_on_validation=True) == ""


def test_a_class_of_copies_cannot_be_divided(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "pictures")
    for file in (folder / "class0").iterdir():
        file.write_bytes((folder / "class0" / "000.jpg").read_bytes())
    with pytest.raises(ValueError, match="class 'class0' has one image, which cannot be divided"):
        open_training_sets(str(folder), image_size=32, seed=0)
    for file in (folder / "class1").iterdir():
        file.write_bytes((folder / "class0" / "000.jpg").read_bytes())
    with pytest.raises(ValueError, match="'class0' has no image that is in this class alone"):
        open_training_sets(str(folder), image_size=32, seed=0)
